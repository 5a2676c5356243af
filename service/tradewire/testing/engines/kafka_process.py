"""Kafka as one plain Java process, broker and controller in one."""

import base64
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tradewire.testing.engines import artifacts, kafka_wire, versions
from tradewire.testing.engines.addresses import free_ports
from tradewire.testing.engines.handles import Kafka, Tell
from tradewire.testing.engines.java import Program, engine_environment, installed_java
from tradewire.testing.engines.process import Process, stop
from tradewire.testing.engines.waiting import wait_for

START_DEADLINE_S = 90.0
HOST = "127.0.0.1"
MAIN = "kafka.Kafka"


def configuration(data: Path, client_port: int, controller_port: int) -> str:
    """The `server.properties` of a lone broker."""
    return _properties(
        {
            "process.roles": "broker,controller",
            "node.id": 1,
            "controller.quorum.voters": f"1@{HOST}:{controller_port}",
            "controller.listener.names": "CONTROLLER",
            "listeners": f"CLIENT://{HOST}:{client_port},CONTROLLER://{HOST}:{controller_port}",
            "advertised.listeners": f"CLIENT://{HOST}:{client_port}",
            "inter.broker.listener.name": "CLIENT",
            "listener.security.protocol.map": "CLIENT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "log.dirs": data,
            "offsets.topic.replication.factor": 1,
            "offsets.topic.num.partitions": 4,
            "transaction.state.log.replication.factor": 1,
            "transaction.state.log.num.partitions": 4,
            "transaction.state.log.min.isr": 1,
            "share.coordinator.state.topic.replication.factor": 1,
            "share.coordinator.state.topic.min.isr": 1,
            "group.initial.rebalance.delay.ms": 0,
            # One that was killed is let in again once its old session has run out.
            "broker.session.timeout.ms": 2000,
            "broker.heartbeat.interval.ms": 500,
        }
    )


def storage() -> str:
    """The `meta.properties` of a fresh data folder.

    It is all that `kafka-storage format` would write that matters to a lone node, without the
    second that a Java more takes.
    """
    cluster, folder = (_kafka_id(uuid.uuid4()) for _ in range(2))
    return _properties({"version": 1, "cluster.id": cluster, "node.id": 1, "directory.id": folder})


def _kafka_id(value: uuid.UUID) -> str:
    return base64.urlsafe_b64encode(value.bytes).decode().rstrip("=")


def _properties(values: Mapping[str, object]) -> str:
    return "".join(f"{name}={value}\n" for name, value in values.items())


@dataclass(frozen=True)
class KafkaProcess(Kafka):
    """A broker of ours."""

    broker: Process = field(repr=False)
    tell: Tell = field(repr=False)

    def logs(self) -> str:
        return self.broker.logs()

    def kill(self) -> None:
        self.broker.kill()

    def start(self) -> None:
        self.broker.start()
        wait_for(
            self._answers,
            doing=f"{self.broker.name}: starting",
            deadline_s=START_DEADLINE_S,
            tell=self.tell,
            why=self.broker.tail,
        )

    def _answers(self) -> bool:
        self.broker.check()
        return kafka_wire.answers(self.brokers)


@contextmanager
def kafka_process(*, quick: bool, environ: Mapping[str, str], tell: Tell) -> Iterator[Kafka]:
    """A broker that runs while the block does; its data is gone afterwards.

    Raises:
        EngineMissing: Java or the jars are not to be had.
        EngineError: it did not come up.
    """
    java = installed_java(environ)
    jars = artifacts.jars_of(artifacts.KAFKA, environ=environ, tell=tell)
    with tempfile.TemporaryDirectory(prefix="tradewire-kafka-") as temporary:
        program = Program(java, jars, MAIN, Path(temporary), quick)
        client_port, controller_port = free_ports((HOST,), 2)
        process = _broker(program, client_port, controller_port, environ)
        engine = KafkaProcess(
            kind="process",
            name=f"Apache Kafka {versions.KAFKA}",
            brokers=f"{HOST}:{client_port}",
            broker=process,
            tell=tell,
        )
        try:
            tell(f"{process.name}: starting")
            engine.start()
            yield engine
        finally:
            if stop([process]):
                program.keep()


def _broker(
    program: Program, client_port: int, controller_port: int, environ: Mapping[str, str]
) -> Process:
    data, log = program.scratch / "data", program.scratch / "server.log"
    data.mkdir()
    (data / "meta.properties").write_text(storage())
    settings = program.scratch / "server.properties"
    settings.write_text(configuration(data, client_port, controller_port))
    options = (
        *("-Xms128m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:+ExitOnOutOfMemoryError"),
        *("-XX:-UsePerfData", f"-Dorg.slf4j.simpleLogger.logFile={log}"),
        "-Dorg.slf4j.simpleLogger.showDateTime=true",
        "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd HH:mm:ss,SSS",
    )
    return Process(
        f"kafka {versions.KAFKA}",
        program.command(options, [str(settings)], learns=True),
        output=program.scratch / "output.log",
        log=log,
        environ=engine_environment(environ),
    )
