"""Cassandra as plain Java processes: one node, or three on 127.0.0.1, 127.0.0.2 and 127.0.0.3."""

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tradewire.testing.engines import artifacts, cql, versions
from tradewire.testing.engines.addresses import free_ports
from tradewire.testing.engines.cassandra_setup import DATACENTER, MAIN, Plan, logging
from tradewire.testing.engines.errors import EngineError
from tradewire.testing.engines.handles import Cassandra, Tell
from tradewire.testing.engines.java import Program, engine_environment, installed_java
from tradewire.testing.engines.process import Process, stop
from tradewire.testing.engines.waiting import wait_for

START_DEADLINE_S = 180.0
SIZES = (1, 3)
"""How many nodes there can be: whether three see each other is read from what they replicate."""


@dataclass(frozen=True)
class CassandraProcesses(Cassandra):
    """Nodes of ours."""

    nodes: Sequence[Process] = field(repr=False)
    tell: Tell = field(repr=False)

    def logs(self) -> str:
        return "".join(node.logs() for node in self.nodes)

    def kill(self, node: int) -> None:
        self._node(node).kill()

    def start(self, node: int) -> None:
        self._node(node).start()
        self.wait([node])

    def pause(self, node: int) -> None:
        self._node(node).pause()

    def resume(self, node: int) -> None:
        self._node(node).resume()

    def wait(self, started: Sequence[int]) -> None:
        """Wait until these answer, and until all see each other if all are awake.

        Raises:
            EngineError: one has ended meanwhile, or it took too long.
        """
        for node in started:
            self._wait_until(cql.identify, node)
        if len(self.nodes) > 1 and all(node.is_awake for node in self.nodes):
            for node in range(len(self.nodes)):
                self._wait_until(cql.sees_all, node)

    def _wait_until(self, ready: Callable[[str], object], node: int) -> None:
        process = self._node(node)

        def looked_at() -> object:
            process.check()
            return ready(self.hosts[node])

        wait_for(
            looked_at,
            doing=f"{process.name}: starting",
            deadline_s=START_DEADLINE_S,
            tell=self.tell,
            why=process.tail,
        )

    def _node(self, node: int) -> Process:
        if not 0 <= node < len(self.nodes):
            raise EngineError(f"there is no node {node}: they are 0 to {len(self.nodes) - 1}")
        return self.nodes[node]


@contextmanager
def cassandra_processes(
    nodes: int, *, authenticated: bool, quick: bool, environ: Mapping[str, str], tell: Tell
) -> Iterator[Cassandra]:
    """Nodes that run while the block does; their data is gone afterwards.

    Raises:
        EngineMissing: Java or the jars are not to be had.
        EngineError: it did not come up.
    """
    java = installed_java(environ)
    jars = artifacts.jars_of(artifacts.CASSANDRA, environ=environ, tell=tell)
    with tempfile.TemporaryDirectory(prefix="tradewire-cassandra-") as temporary:
        program = Program(java, jars, MAIN, Path(temporary), quick)
        hosts = tuple(f"127.0.0.{number + 1}" for number in range(nodes))
        native, storage = free_ports(hosts, 2)
        plan = Plan(hosts, native, storage, authenticated)
        cluster = CassandraProcesses(
            kind="process",
            name=f"Apache Cassandra {versions.CASSANDRA}",
            hosts=tuple(f"{host}:{plan.native}" for host in hosts),
            datacenter=DATACENTER,
            nodes=[_node(plan, index, program, environ) for index in range(nodes)],
            tell=tell,
        )
        try:
            for node in cluster.nodes:
                tell(f"{node.name}: starting")
                node.start()
            cluster.wait(range(nodes))
            yield cluster
        finally:
            if stop(cluster.nodes):
                program.keep()


def _node(plan: Plan, index: int, program: Program, environ: Mapping[str, str]) -> Process:
    folder = program.scratch / plan.hosts[index]
    folder.mkdir()
    log = folder / "system.log"
    (folder / "cassandra.yaml").write_text(plan.configuration(index, folder))
    (folder / "logback.xml").write_text(logging(log))
    (folder / "triggers").mkdir()
    number = "" if plan.alone else f" node {index}"
    return Process(
        f"cassandra {versions.CASSANDRA}{number}",
        program.command(plan.options(folder, program.jars), learns=index == 0),
        output=folder / "output.log",
        log=log,
        environ=engine_environment(environ),
    )
