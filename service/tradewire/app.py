"""The composition root: settings to adapters to use cases to edge, and the order of start and stop.

It stops in the reverse order: not ready, no new connections, clients sent away with their returns
spread, requests finished, units in flight finished, store closed.
"""

import asyncio
import gc
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING

import structlog

from tradewire.adapters.sqlite.store import SqliteStore
from tradewire.config import Settings, kafka_options, scylla_options
from tradewire.domain.caller import Caller
from tradewire.domain.commands import Command, SendMessage
from tradewire.domain.errors import Draining, TradewireError
from tradewire.domain.ids import Clock
from tradewire.edge.admission import Admission
from tradewire.edge.auth import Authenticator, load_or_create_secret
from tradewire.edge.cluster import ClusterHub
from tradewire.edge.http import HttpApi
from tradewire.edge.hub import LocalHub
from tradewire.edge.keys import Jwks
from tradewire.edge.server import Listener
from tradewire.edge.websocket import ChatSockets
from tradewire.ports import Cluster, Late, Store, StoreError
from tradewire.protocol import cloudevents
from tradewire.protocol.session import Limits
from tradewire.telemetry.metrics import Metrics, watch_loop_lag
from tradewire.telemetry.tasks import Tasks
from tradewire.usecases.context import Context
from tradewire.usecases.refusals import Refusals
from tradewire.usecases.service import Service

if TYPE_CHECKING:
    from tradewire.broker import Broker

_log = structlog.get_logger(__name__)

TYPING_TURN_S = 0.5
EXPIRY_TURN_S = 1.0
REFUSALS_TURN_S = 0.5
METRICS_TURN_S = 1.0
STOP_DEADLINE_S = 5.0
FINISH_S = 2.0
"""What the last connections leave behind may take: that users are gone is told and recorded."""
GARBAGE_THRESHOLD = 50_000
SWITCH_INTERVAL_S = 0.002


def now_ms() -> int:
    """Milliseconds since 1970 by the wall clock."""
    return time.time_ns() // 1_000_000


class Node:
    """One server: `start`, serve until `stop`.

    Attributes:
        url: where it listens, once started.
        failed: set when a task that must run for ever has ended: the node is to be stopped.
    """

    def __init__(self, settings: Settings) -> None:
        self.url = ""
        self.failed = asyncio.Event()
        self._settings = settings
        self._metrics = Metrics()
        self._tasks = Tasks(self._task_failed)
        self._duties = Tasks(self._duty_failed)
        self._clock = Clock(now_ms)
        self._store, self._cluster = self._make_store()
        self._hub = self._make_hub()
        self._service = Service(
            Context(self._store, self._hub, self._clock, self._metrics),
            catalog_required=settings.catalog_required,
        )
        self._broker = self._make_broker()
        self._admission = Admission(
            self._hub,
            Limits(settings.messages_per_second, settings.commands_per_second),
            per_device=settings.connections_per_device,
            per_user=settings.connections_per_user,
        )
        self._authenticator: Authenticator | None = None
        self._sockets: ChatSockets | None = None
        self._listener: Listener | None = None

    async def start(self) -> None:
        """Open the store, take up the duties, listen.

        Raises:
            StoreError: the data folder cannot be used.
            BrokerError: Kafka lacks topics, and does not make them.
            CannotListen: the address cannot be listened on.
        """
        settings = self._settings
        await self._store.open()
        try:
            self._clock.observe(await self._store.journal.newest_id())
            self._hub.cursor = self._clock.next_id()
            self._authenticator = _authenticator(settings)
            self._sockets = ChatSockets(
                self._service,
                self._hub,
                self._authenticator,
                self._admission,
                self._tasks,
                self._metrics,
            )
            self._start_duties(self._sockets)
            if self._broker is not None:
                await self._broker.start(self._duties)
            await self._listen(self._sockets, self._authenticator)
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Stop in order; whatever was acknowledged is durable, whatever was not is answered."""
        self._admission.draining = True
        if self._sockets is not None:
            await self._sockets.drain(self._settings.drain_s)
        if self._listener is not None:
            await self._listener.stop()
        await self._tasks.finish(FINISH_S)
        await self._duties.stop(STOP_DEADLINE_S)
        await self._tasks.stop(STOP_DEADLINE_S)
        await self._hub.stop()
        if self._broker is not None:
            await self._broker.close()
        if self._authenticator is not None:
            await self._authenticator.close()
        await self._store.close()

    def _make_store(self) -> tuple[Store, Cluster | None]:
        """The store of the settings, and the nodes that share it. A driver that is not used is not
        imported.
        """
        settings = self._settings
        relayed = settings.events == "kafka"
        if settings.store == "sqlite":
            store = SqliteStore(
                settings.data_dir,
                now_ms=now_ms,
                on_group=self._observe_group,
                group_units=settings.commit_group_units,
                relayed=relayed,
            )
            return store, None
        from tradewire.adapters.scylla.store import ScyllaStore  # noqa: PLC0415

        scylla = ScyllaStore(
            scylla_options(settings),
            cell=settings.cell_id,
            clock=self._clock,
            lease_s=settings.node_lease_s,
            group_units=settings.commit_group_units,
            groups_in_flight=settings.commit_groups_in_flight,
            on_group=self._observe_group,
            on_late=self._tell_late,
            on_failure=self._duty_failed,
            relayed=relayed,
        )
        return scylla, scylla.cluster

    def _make_hub(self) -> LocalHub:
        """The hub of a lone node, or of one that Kafka joins to the others on its keyspace."""
        per_device = self._settings.connections_per_device
        if self._cluster is None or self._settings.events != "kafka":
            return LocalHub(self._metrics, per_device=per_device)
        from tradewire.adapters.kafka.delivery import KafkaBus  # noqa: PLC0415

        return ClusterHub(
            self._metrics,
            per_device=per_device,
            cluster=self._cluster,
            bus=KafkaBus(kafka_options(self._settings), self._duties),
            clock=self._clock,
            tasks=self._tasks,
        )

    def _make_broker(self) -> "Broker | None":
        """Kafka, where events go there. Its client is not imported where they do not."""
        if self._settings.events != "kafka":
            return None
        from tradewire.broker import Broker  # noqa: PLC0415

        return Broker(kafka_options(self._settings), self._settings.cell_id, self._service)

    def _tell_late(self, late: Late) -> None:
        """Something became visible after younger things: nobody here or elsewhere knew of it."""
        context = self._service.context
        for conversation in late.conversations:
            context.access.drop(conversation)
        for user in late.blocks:
            context.blocks.drop(user)
        self._hub.resume(late.users, late.since)

    def _start_duties(self, sockets: ChatSockets) -> None:
        self._duties.start("sockets", sockets.watch(), forever=True)
        self._duties.start("loop lag", watch_loop_lag(self._metrics.loop_lag_seconds), forever=True)
        self._duties.start("metrics", _every(METRICS_TURN_S, self._sample), forever=True)
        typing, expiry = self._service.typing, self._service.expiry
        self._duties.start("typing", _every(TYPING_TURN_S, typing.expire), forever=True)
        self._duties.start("expiry", _every(EXPIRY_TURN_S, expiry.run), forever=True)
        if isinstance(self._hub, ClusterHub):
            telling = self._hub.run(self._service.neighbours)
            self._duties.start("telling other nodes", telling, forever=True)
            self._duties.start("hearing other nodes", self._hub.listen(), forever=True)
        if self._cluster is not None:
            refusals = Refusals(self._service.context, self._cluster)
            self._duties.start("refusals", _every(REFUSALS_TURN_S, refusals.look), forever=True)

    async def _listen(self, sockets: ChatSockets, authenticator: Authenticator) -> None:
        api = HttpApi(
            self._service,
            authenticator,
            limiter=self._limit,
            readiness=self._readiness,
            metrics=self._metrics,
            source=cloudevents.source(self._settings.cell_id),
        )
        self._listener = Listener(api, sockets)
        self.url = await self._listener.start(
            self._settings.host, self._settings.port, shared=self._settings.workers > 1
        )

    def _limit(self, caller: Caller, command: type[Command] | None) -> None:
        if self._admission.draining:
            raise Draining(retry_after_ms=1_000)
        if command is SendMessage:
            self._admission.check_message(caller)

    async def _readiness(self) -> Mapping[str, str | None]:
        return {
            "store": await _reason(self._store),
            **({} if self._broker is None else {"kafka": self._broker.reason}),
            "draining": "the server is stopping" if self._admission.draining else None,
        }

    def _observe_group(self, size: int, seconds: float) -> None:
        self._metrics.commit_group_size.observe(size)
        self._metrics.commit_seconds.observe(seconds)
        if self._broker is not None:
            self._broker.wake()

    async def _sample(self) -> None:
        """Measure what only exists as a state."""
        self._metrics.commit_queue_depth.value = self._store.journal.in_flight
        self._metrics.send_queue_bytes.value = sum(
            connection.outbound.bytes for connection in self._hub
        )
        self._metrics.outbox_last_sequence.value = self._hub.cursor

    def _task_failed(self, name: str, _: BaseException | None) -> None:
        self._metrics.task_failures.add(labels=(name.split(maxsplit=1)[0],))

    def _duty_failed(self, name: str, error: BaseException | None) -> None:
        self._task_failed(name, error)
        self.failed.set()


async def serve(settings: Settings, *, on_ready: Callable[[str], None]) -> int:
    """Run a node until SIGTERM or SIGINT, which drain; a second signal ends the process at once.

    `on_ready` is called with the address once it takes traffic. Returns the exit code.

    Raises:
        StoreError, BrokerError, CannotListen: it cannot start.
    """
    _tune_interpreter()
    node = Node(settings)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    await node.start()
    try:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, _on_signal, stop, number)
        on_ready(node.url)
        await _either(stop, node.failed)
    finally:
        await node.stop()
    return 1 if node.failed.is_set() else 0


def _tune_interpreter() -> None:
    """Collect garbage seldom, for what a message makes holds no cycles; and let the threads of the
    embedded store have the interpreter soon (docs/decisions/0006).
    """
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    gc.collect()
    gc.freeze()
    gc.set_threshold(GARBAGE_THRESHOLD, 20, 20)


def _on_signal(stop: asyncio.Event, number: signal.Signals) -> None:
    """The first signal asks for a stop; after it, signals do what they do by themselves."""
    _log.info("stopping", signal=number.name)
    stop.set()
    for other in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().remove_signal_handler(other)
        signal.signal(other, signal.SIG_DFL)


async def _either(*events: asyncio.Event) -> None:
    """Wait until one of the events is set."""
    waits = [asyncio.create_task(event.wait(), name="stop") for event in events]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)


async def _every(seconds: float, duty: Callable[[], Awaitable[None]]) -> None:
    """For ever: do a duty now and then; a store that is away is waited for."""
    while True:
        await asyncio.sleep(seconds)
        try:
            await duty()
        except TradewireError as error:
            _log.warning("duty put off", duty=getattr(duty, "__qualname__", ""), reason=str(error))


async def _reason(store: Store) -> str | None:
    try:
        await store.check()
    except TradewireError as error:
        return str(error)
    return None


def _authenticator(settings: Settings) -> Authenticator:
    """Verifies with what is configured; with nothing configured, with the data folder's secret."""
    secret = settings.jwt_secret
    if not (secret or settings.jwt_public_key or settings.jwt_jwks_url):
        try:
            secret = load_or_create_secret(settings.data_dir)
        except (OSError, ValueError) as error:
            raise StoreError(f"There is no secret to verify tokens with: {error}") from error
    return Authenticator(
        secret=secret,
        public_pem=settings.jwt_public_key,
        jwks=Jwks(settings.jwt_jwks_url) if settings.jwt_jwks_url else None,
        issuer=settings.jwt_issuer,
        audience=settings.jwt_audience,
        leeway_s=settings.jwt_leeway_s,
    )
