"""The connections of all nodes as one: what is told on one node is heard on those concerned.

Events go, packed, to just those nodes that hold connections of the users they are for. Where users
are connected is known a moment late, and the way between nodes may lose records; both are made up
for by resuming connections from the store, which is where everything durable is anyway:

- who has just come to a node is resumed once more when every other node can know of it;
- envelopes are numbered: when some are missing, or a node has died, all connections here are
  resumed from the last envelope that came, and told once more who of those they watch is there.
  While a node is not heard this is done again and again: a client that has seen a younger message
  resumes from 10 s before that, and no further.
"""

import asyncio
import itertools
import re
import time
from collections.abc import Awaitable, Collection, Iterable, Sequence
from typing import Protocol, cast
from weakref import WeakValueDictionary

import structlog
from msgspec import Struct

from tradewire.domain.errors import Close, TradewireError
from tradewire.domain.events import Event, MemberAdded, UserOffline, UserOnline
from tradewire.domain.ids import Clock
from tradewire.domain.types import Presence
from tradewire.edge.hub import Key, LocalHub
from tradewire.ports import BUS_RECORD_BYTES, ROUTE_AGE_S, Bus, Cluster
from tradewire.protocol import nodes
from tradewire.telemetry.metrics import Metrics
from tradewire.telemetry.tasks import Tasks

TURN_S = 0.5
"""How often a node gives a sign of life, and looks for those of the others."""

GATHER_S = 0.001
"""The pause between two sendings, in which what is to be told gathers: each costs both nodes and
Kafka half a millisecond of CPU.
"""

SILENT_S = 3.0
"""A living node that is not heard for so long makes what is cached doubtful, and each time as long
again what it may have told is read from the store.
"""

SEEN_BY_ALL_S = 2 * ROUTE_AGE_S + TURN_S
"""When all others know that a user is here: the age of what they know of nodes and of users."""

SETTLED_S = 3.5
"""How long a node may take to say that a session's sends are settled: what was under way there has
been refused by then, for having taken too long."""

WATCHED_AT_ONCE = 50
"""Users whose watchers are told again at the same time: each may cost three reads."""

UNSETTLED_S = 0.5
"""The pause before a session is settled once more that could not be."""

SESSIONS_SETTLED = 10_000
USERS_AN_ITEM = 1_000
ITEMS_WAITING = 50_000

_SESSION = re.compile(r"[0-9a-f]+-[0-9a-f]{32}")
"""A session of a node: its run, and a number at random. For other keys nobody is asked."""

_log = structlog.get_logger(__name__)


class Listener(Protocol):
    """Who hears what other nodes tell, beyond what goes to connections."""

    def forget(self, cache: str, tenant: str, key: str) -> None:
        """A cached value is out of date."""

    def hear(self, tenant: str, event: Event) -> None:
        """An event was told to users here."""

    def appears(self, tenant: str, user_id: str, status: Presence | None) -> None:
        """How a user wants to appear."""

    def doubt_caches(self, *, doubtful: bool) -> None:
        """Whether changes on other nodes may go unheard at present."""

    def missed(self) -> None:
        """Changes on other nodes may have gone unheard: nothing cached can be trusted."""

    async def appearance(
        self, tenant: str, user_id: str
    ) -> tuple[UserOnline | UserOffline, frozenset[str]]:
        """How a user appears now, and the users who must not see it.

        Raises:
            Unavailable, Overloaded: the store did not answer.
        """

    async def settled(self) -> None:
        """Wait until every send that has been taken is stored or refused."""


class Peer(Struct):
    """Another node, as it is heard here.

    Attributes:
        sequence: the number of its last envelope.
        at: an id: what it told up to that moment has come, or was read from the store.
        heard: when it was heard last, or seen first, in seconds of the loop.
        made_up: when what it may have told was read from the store last.
        listed: whether it was known to live.
        ended: whether it said that it ends.
    """

    sequence: int
    at: int
    heard: float
    made_up: float = 0.0
    listed: bool = False
    ended: bool = False


class Settling(Struct):
    """A session whose sends are being settled. `contested`: the others are to be asked, again."""

    task: asyncio.Task[None] | None = None
    contested: bool = True


class ClusterHub(LocalHub):
    """The hub of one node among several: it is to `run` for as long as the node lives, and to
    `listen` from when the bus is there. Until then all that others tell is read from the store.
    """

    def __init__(
        self,
        metrics: Metrics,
        *,
        per_device: int,
        cluster: Cluster,
        bus: Bus,
        clock: Clock,
        tasks: Tasks,
    ) -> None:
        super().__init__(metrics, per_device=per_device)
        self._cluster = cluster
        self._bus = bus
        self._clock = clock
        self._tasks = tasks
        self._listener: Listener | None = None
        self._items: list[nodes.Item] = []
        self._wake = asyncio.Event()
        self._sequences: dict[int, int] = {}
        self._peers: dict[int, Peer] = {}
        self._missed: int | None = None
        self._doubtful = False
        self._watchers_missed = asyncio.Event()
        self._told_meanwhile: set[Key] | None = None
        self._placed: set[Key] = set()
        self._placing: WeakValueDictionary[Key, asyncio.Lock] = WeakValueDictionary()
        self._numbers = itertools.count(1)
        self._doubts: dict[int, asyncio.Future[None]] = {}
        self._settling: dict[str, Settling] = {}
        self._settled: dict[str, None] = {}

    # --- ports.Hub --------------------------------------------------------------------------------

    def publish(
        self,
        tenant: str,
        user_ids: Iterable[str],
        event: Event,
        *,
        event_id: int = 0,
        skip: str | None = None,
    ) -> None:
        users = list(user_ids)
        self._tell_here(tenant, users, event, event_id, skip)
        if self._cluster.others:
            self._put(nodes.Told(tenant, users, cast(nodes.Tellable, event), event_id))

    def tell_watchers(
        self, tenant: str, user_id: str, event: Event, hidden: frozenset[str]
    ) -> None:
        self._tell_watchers_here(tenant, user_id, event, hidden)
        told = cast(nodes.Tellable, event)
        self._put(nodes.Seen(tenant, user_id, told, list(hidden)))

    def doubt_keys(self, session_id: str) -> Awaitable[None] | None:
        super().doubt_keys(session_id)
        if session_id in self._settled or not _SESSION.fullmatch(session_id):
            return None
        settling = self._settling.get(session_id)
        if settling is None:
            settling = self._settling[session_id] = Settling()
            settle = self._settle(session_id, settling)
            settling.task = self._tasks.start(f"settle {session_id}", settle)
        # Who gives up waiting must not end it for the others.
        return asyncio.shield(cast("asyncio.Task[None]", settling.task))

    def resume(self, users: Collection[Key], since: int) -> None:
        super().resume(users, since)
        listed = list(users)
        for start in range(0, len(listed), USERS_AN_ITEM):
            self._put(nodes.Missed(listed[start : start + USERS_AN_ITEM], since))

    def expect(self, tenant: str, user_ids: Iterable[str]) -> None:
        self._cluster.expect((tenant, user_id) for user_id in user_ids)

    async def elsewhere(self, tenant: str, user_ids: Sequence[str]) -> frozenset[str]:
        found = await self._cluster.find((tenant, user_id) for user_id in user_ids)
        return frozenset(user_id for (_, user_id), nodes_ in found.items() if nodes_)

    def changed(self, cache: str, tenant: str, key: str) -> None:
        self._put(nodes.Changed(cache, tenant, key))

    def appears(self, tenant: str, user_id: str, status: Presence | None) -> None:
        self._put(nodes.Chosen(tenant, user_id, status))

    # --- comings and goings -----------------------------------------------------------------------

    def new_session_id(self) -> str:
        return f"{self._cluster.run:x}-{super().new_session_id()}"

    async def placed(self, user: Key) -> None:
        lock = self._placing.setdefault(user, asyncio.Lock())
        async with lock:
            here = bool(self.of_user(user))
            if here and user not in self._placed:
                self._placed.add(user)
                since, begun = self._clock.next_id(), time.monotonic()
                try:
                    await self._cluster.join(*user)
                finally:
                    self._resume_later(user, since, begun)
            elif not here and user in self._placed:
                await self._cluster.leave(*user)
                self._placed.discard(user)
        if not here:
            await asyncio.sleep(ROUTE_AGE_S)

    def _resume_later(self, user: Key, since: int, begun: float) -> None:
        """Resume the user's connections when every other node can know that they are here, if one
        has lived since they `begun` to be.
        """

        async def resume() -> None:
            await asyncio.sleep(SEEN_BY_ALL_S)
            if self._cluster.alone_since(begun):
                return
            for connection in self.of_user(user):
                connection.resume(since)

        self._tasks.start(f"resume {since}", resume())

    # --- telling ----------------------------------------------------------------------------------

    async def run(self, listener: Listener) -> None:
        """For ever: tell the others, and make up for what is not heard of them."""
        self._listener = listener
        async with asyncio.TaskGroup() as group:
            group.create_task(self._tell(), name="telling")
            group.create_task(self._look(), name="signs of life")
            group.create_task(self._tell_watchers_again(), name="presence missed")

    async def _tell(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            await self._send_waiting()
            await asyncio.sleep(GATHER_S)

    async def stop(self) -> None:
        """Tell what waits, and what is being stored, and that this node ends."""
        try:
            if self._listener is not None:
                await self._listener.settled()
        except TradewireError as error:
            _log.warning("what is stored yet is not told to other nodes", reason=str(error))
        await self._send_waiting(last=True)
        await self._bus.close()

    def _put(self, item: nodes.Item) -> None:
        if not self._cluster.others:
            return
        if len(self._items) >= ITEMS_WAITING:
            self._items.clear()
            # The gap tells the others to resume from the store.
            self._sequences = {run: number + 1 for run, number in self._sequences.items()}
            _log.error("too much waits to be told to other nodes")
        self._items.append(item)
        self._wake.set()

    async def _send_waiting(self, *, last: bool = False) -> None:
        items, self._items = self._items, []
        others = dict(self._cluster.others)
        try:
            places = await self._places(items)
        except TradewireError as error:
            _log.warning("told to all nodes, for users could not be found", reason=str(error))
            places = {}
        waiting: dict[int, list[bytes]] = {node: [] for node in others}
        for item in items:
            encoded = nodes.encode(item)
            for node in _nodes_for(item, places, others):
                if node in waiting:
                    waiting[node].append(encoded)
        for node, run in others.items():
            for part in _parts(waiting[node]):
                self._send(node, run, part)
            if last:
                self._send(node, run, [], last=True)

    async def _places(self, items: Iterable[nodes.Item]) -> dict[Key, frozenset[int]]:
        users = {
            (item.tenant, user)
            for item in items
            if isinstance(item, nodes.Told)
            for user in item.user_ids
        }
        return await self._cluster.find(users) if users else {}

    def _send(self, node: int, run: int, items: list[bytes], *, last: bool = False) -> None:
        number = self._sequences[run] = self._sequences.get(run, 0) + 1
        head = (run, self._cluster.node, self._cluster.run, number, self._clock.next_id())
        self._bus.send(node, nodes.envelope(*head, items, last=last))

    # --- hearing ----------------------------------------------------------------------------------

    async def _look(self) -> None:
        """For ever: give signs of life and look for those of the others."""
        while True:
            self._look_for_others(asyncio.get_running_loop().time())
            for node, run in self._cluster.others.items():
                self._send(node, run, [])
            self._make_up()
            await asyncio.sleep(TURN_S)

    async def listen(self) -> None:
        """For ever: listen in this node's place, also when it has got another one."""
        listening = 0
        while True:
            run, node = self._cluster.run, self._cluster.node
            if run != listening:
                since = min([self._clock.next_id(), *(peer.at for peer in self._peers.values())])
                try:
                    await self._bus.listen(node, self._heard)
                except TradewireError as error:
                    _log.warning("other nodes cannot be heard yet", reason=str(error))
                    await asyncio.sleep(SILENT_S)
                    continue
                if listening:
                    self._tasks.start(f"resume {since}", self._miss_later(since))
                listening = run
                self._peers.clear()
                self._miss(since)
            await asyncio.sleep(TURN_S)

    def _look_for_others(self, now: float) -> None:
        living = set(self._cluster.others.values())
        for run in living:
            peer = self._peers.setdefault(run, Peer(0, self._clock.next_id(), now))
            peer.listed = True
        for run, peer in list(self._peers.items()):
            if run not in living and (peer.listed or now - peer.heard > 2 * SILENT_S):
                del self._peers[run]
                self._sequences.pop(run, None)
                if not peer.ended:
                    self._miss(peer.at)
        silent = [
            peer for peer in self._peers.values() if now - peer.heard > SILENT_S and not peer.ended
        ]
        for peer in silent:
            if now - peer.made_up > SILENT_S:
                self._miss(peer.at)
                peer.at, peer.made_up = self._clock.next_id(), now
        doubtful = bool(silent)
        if doubtful != self._doubtful:
            self._doubtful = doubtful
            _log.warning("other nodes are not heard" if doubtful else "other nodes are heard again")
            assert self._listener is not None
            self._listener.doubt_caches(doubtful=doubtful)

    def _heard(self, record: bytes) -> None:
        try:
            envelope = nodes.decode(record)
        except ValueError as error:
            _log.error("a record from another node is not understood", reason=str(error))
            return
        if envelope.target != self._cluster.run:
            return
        self._clock.observe(envelope.at)
        now = asyncio.get_running_loop().time()
        peer = self._peers.setdefault(envelope.run, Peer(0, envelope.at, now))
        if envelope.sequence <= peer.sequence:
            return
        if envelope.sequence > peer.sequence + 1:
            self._metrics.node_gaps.add()
            self._miss(peer.at)
        peer.sequence, peer.at, peer.heard = envelope.sequence, envelope.at, now
        peer.ended = envelope.last
        for item in envelope.items:
            self._take(item, envelope.sender, envelope.run)

    def _make_up(self) -> None:
        """Forget what is cached and resume every connection, if something may have been missed."""
        since, self._missed = self._missed, None
        if since is not None:
            assert self._listener is not None
            self._listener.missed()
            self._watchers_missed.set()
            self._metrics.connections_resumed.add(len(self))
            for connection in self:
                connection.resume(since)

    async def _tell_watchers_again(self) -> None:
        """For ever: tell how watched users are when comings and goings may have been missed."""
        while True:
            await self._watchers_missed.wait()
            self._watchers_missed.clear()
            meanwhile = self._told_meanwhile = set()
            # What is known of where users are may be so old.
            await asyncio.sleep(ROUTE_AGE_S)
            users = list(self._watchers)
            for start in range(0, len(users), WATCHED_AT_ONCE):
                part = users[start : start + WATCHED_AT_ONCE]
                await asyncio.gather(*(self._tell_again(*user, meanwhile) for user in part))
            self._told_meanwhile = None

    async def _tell_again(self, tenant: str, user_id: str, meanwhile: Collection[Key]) -> None:
        """Tell it again, unless it was told `meanwhile`, which is younger."""
        assert self._listener is not None
        try:
            event, hidden = await self._listener.appearance(tenant, user_id)
        except TradewireError as error:
            _log.warning("presence could not be told again", reason=str(error))
            self._watchers_missed.set()
            return
        if (tenant, user_id) not in meanwhile:
            super().tell_watchers(tenant, user_id, event, hidden)

    def _miss(self, since: int) -> None:
        """Something that was told after an id may be missing here."""
        self._missed = since if self._missed is None else min(self._missed, since)

    async def _miss_later(self, since: int) -> None:
        """The same when the others know that the users of a former run are here."""
        await asyncio.sleep(SEEN_BY_ALL_S)
        self._miss(since)

    def _take(self, item: nodes.AnyItem, sender: int, run: int) -> None:
        assert self._listener is not None
        match item:
            case nodes.Told(tenant, user_ids, event, event_id):
                self._clock.observe(event_id)
                self._tell_here(tenant, user_ids, event, event_id, None)
                self._listener.hear(tenant, event)
            case nodes.Seen(tenant, user_id, event, hidden):
                self._tell_watchers_here(tenant, user_id, event, frozenset(hidden))
            case nodes.Chosen(tenant, user_id, status):
                self._listener.appears(tenant, user_id, status)
            case nodes.Changed(cache, tenant, key):
                self._listener.forget(cache, tenant, key)
            case nodes.Missed(users, since):
                super().resume(users, since)
            case nodes.Doubt(session_id, number):
                self._end_session(session_id, run)
                self._tasks.start(f"answer {number}", self._answer(sender, run, number))
            case nodes.Settled(number):
                if (doubt := self._doubts.get(number)) is not None and not doubt.done():
                    doubt.set_result(None)

    def _tell_watchers_here(
        self, tenant: str, user_id: str, event: Event, hidden: frozenset[str]
    ) -> None:
        if self._told_meanwhile is not None:
            self._told_meanwhile.add((tenant, user_id))
        super().tell_watchers(tenant, user_id, event, hidden)

    def _tell_here(
        self, tenant: str, user_ids: Sequence[str], event: Event, event_id: int, skip: str | None
    ) -> None:
        super().publish(tenant, user_ids, event, event_id=event_id, skip=skip)
        if isinstance(event, MemberAdded) and self.connected(tenant, event.user_id):
            # A node that has not heard of it yet may tell those who were members before.
            self._resume_later((tenant, event.user_id), int(event.change_id), time.monotonic())

    # --- keys -------------------------------------------------------------------------------------

    async def _settle(self, session_id: str, settling: "Settling") -> None:
        """Have every other node end the session and finish its sends, or time run out.

        Of two nodes that ask each other at once, the older asks again: it finds what the younger
        has stored.
        """
        try:
            # Its client may come from a node that has begun since the last look.
            await self._cluster.look()
            async with asyncio.timeout(SETTLED_S):
                while settling.contested:
                    settling.contested = False
                    await asyncio.gather(
                        *(self._ask(*other, session_id) for other in self._cluster.others.items())
                    )
        except TradewireError as error:
            _log.warning("a session cannot be settled", session=session_id, reason=str(error))
            await asyncio.sleep(UNSETTLED_S)
            return
        except TimeoutError:
            _log.warning("a node does not answer for a session", session=session_id)
        finally:
            del self._settling[session_id]
        self._settled[session_id] = None
        if len(self._settled) > SESSIONS_SETTLED:
            del self._settled[next(iter(self._settled))]

    async def _ask(self, node: int, run: int, session_id: str) -> None:
        number = next(self._numbers)
        doubt = self._doubts[number] = asyncio.get_running_loop().create_future()
        try:
            self._send(node, run, [nodes.encode(nodes.Doubt(session_id, number))])
            await doubt
        finally:
            del self._doubts[number]

    def _end_session(self, session_id: str, asking: int) -> None:
        """Its client goes on elsewhere: what it has sent here and was not read yet must not be
        stored any more, and another session with its keys has to ask again.
        """
        self._settled.pop(session_id, None)
        settling = self._settling.get(session_id)
        if settling is not None and asking > self._cluster.run:
            settling.contested = True
        connection = self._by_session.get(session_id)
        if connection is not None:
            connection.close(Close.RESTART)

    async def _answer(self, node: int, run: int, number: int) -> None:
        assert self._listener is not None
        try:
            await self._listener.settled()
        except TradewireError as error:
            _log.warning("a session is not settled", reason=str(error))
            return
        self._send(node, run, [nodes.encode(nodes.Settled(number))])


def _nodes_for(
    item: nodes.Item, places: dict[Key, frozenset[int]], others: Iterable[int]
) -> Iterable[int]:
    """The nodes that an item goes to; all when where its users are is not known."""
    if isinstance(item, nodes.Told) and places:
        return {node for user in item.user_ids for node in places[item.tenant, user]}
    return others


def _parts(items: Sequence[bytes]) -> Iterable[list[bytes]]:
    """Items in parts that fit into a record."""
    part: list[bytes] = []
    size = 0
    for item in items:
        if part and size + len(item) > BUS_RECORD_BYTES - nodes.ENVELOPE_BYTES:
            yield part
            part, size = [], 0
        part.append(item)
        size += len(item)
    if part:
        yield part
