"""Events of other services from the broker: those of a key in order, keys side by side.

An offset is committed when everything below it took effect or is a dead letter.
"""

import asyncio
import time
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from itertools import count

import structlog
from msgspec import Struct

from tradewire.domain.errors import BadRequest, TradewireError, Unavailable
from tradewire.domain.incoming import IncomingEvent, ProductUpdated
from tradewire.ports import Consumer, DeadLetters, Partition, Record
from tradewire.protocol import cloudevents
from tradewire.telemetry.metrics import Metrics
from tradewire.usecases.backoff import LONGEST_S, backoff

AT_ONCE = 16
"""Records that take effect at the same time: few, so that chats hardly notice a storm of them."""

WAITING = 1_000
"""Records of a partition in memory: from so many on, no more are asked for."""

BATCH = 200
COMMIT_S = 1.0
GRACE_S = 5.0
"""How long records under way may go on when their partition is given to another node."""

ATTEMPTS = 5
"""How often one is tried whose handling fails in a way that nobody foresaw."""

_log = structlog.get_logger(__name__)

Handle = Callable[[list[IncomingEvent]], Awaitable[object]]


class Item(Struct, frozen=True):
    """A record, and what is in it, or why it cannot be read."""

    record: Record
    events: list[IncomingEvent] | TradewireError


class Lane:
    """The records of a partition that are not done.

    Attributes:
        waiting: those that nobody has begun, in their order.
        work: what handles them, if anything does.
    """

    def __init__(self) -> None:
        self.waiting: deque[Record] = deque()
        self.work: asyncio.Task[None] | None = None
        self._unfinished: dict[int, None] = {}
        self._next = 0

    def take(self, record: Record) -> None:
        """Add the next record."""
        self.waiting.append(record)
        self._unfinished[record.offset] = None
        self._next = record.offset + 1

    def finish(self, record: Record) -> None:
        """A record is done."""
        del self._unfinished[record.offset]

    @property
    def position(self) -> int:
        """The offset below which everything is done."""
        return next(iter(self._unfinished), self._next)


class Consuming:
    """Takes records and lets their events take effect.

    A record that fails for a passing reason is tried again with growing pauses and holds up its
    partition alone; one that is refused becomes a dead letter at once. The effects are the same
    when a record is handled again.

    Args:
        handle: lets the events of a record take effect; see Service.handle_events.
    """

    def __init__(
        self, consumer: Consumer, dead_letters: DeadLetters, handle: Handle, metrics: Metrics
    ) -> None:
        self._consumer = consumer
        self._dead_letters = dead_letters
        self._handle = handle
        self._metrics = metrics
        self._places = asyncio.Semaphore(AT_ONCE)
        self._lanes: dict[Partition, Lane] = {}
        self._committed: dict[Partition, int] = {}

    async def run(self) -> None:
        """For ever: take records; when the broker fails, begin anew."""
        failures = 0
        while True:
            begun = time.monotonic()
            try:
                await self._consumer.start(self._revoked)
                async with asyncio.TaskGroup() as works:
                    await self._take_all(works)
            except* TradewireError as errors:
                reason = str(errors.exceptions[0])
                _log.warning("records wait to be consumed", reason=reason)
            finally:
                await self._revoked()
                await self._consumer.stop()
            failures = 1 if time.monotonic() - begun > LONGEST_S else failures + 1
            await asyncio.sleep(backoff(failures))

    async def _take_all(self, works: asyncio.TaskGroup) -> None:
        committed_at = time.monotonic()
        while True:
            held = [name for name, lane in self._lanes.items() if len(lane.waiting) >= WAITING]
            for record in await self._consumer.poll(held):
                self._take(record, works)
            if time.monotonic() - committed_at > COMMIT_S:
                committed_at = time.monotonic()
                self._metrics.consumer_lag.value = self._consumer.lag(self._positions())
                await self._commit()

    def _take(self, record: Record, works: asyncio.TaskGroup) -> None:
        lane = self._lanes.setdefault(record.partition, Lane())
        lane.take(record)
        self._metrics.records_consumed.add(labels=(record.partition[0],))
        if lane.work is None or lane.work.done():
            lane.work = works.create_task(self._work(lane), name=f"consuming {record.partition}")

    def _positions(self) -> dict[Partition, int]:
        return {name: lane.position for name, lane in self._lanes.items()}

    async def _commit(self) -> None:
        moved = dict(self._positions().items() - self._committed.items())
        if not moved:
            return
        try:
            await self._consumer.commit(moved)
        except Unavailable as error:
            _log.warning("offsets are not committed yet", reason=str(error))
        else:
            self._committed |= moved

    async def _revoked(self) -> None:
        """The partitions are another's soon: end what is under way, note what is done."""
        works = [lane.work for lane in self._lanes.values() if lane.work is not None]
        for lane in self._lanes.values():
            lane.waiting.clear()
        if works:
            _, late = await asyncio.wait(works, timeout=GRACE_S)
            for work in late:
                work.cancel()
            await asyncio.gather(*late, return_exceptions=True)
            await self._commit()
        self._lanes.clear()
        self._committed.clear()

    async def _work(self, lane: Lane) -> None:
        """Handle what waits in a partition until nothing does."""
        while lane.waiting:
            batch = [lane.waiting.popleft() for _ in range(min(BATCH, len(lane.waiting)))]
            chains: dict[bytes | None, list[Record]] = defaultdict(list)
            for record in batch:
                chains[record.key].append(record)
            async with asyncio.TaskGroup() as works:
                for key, chain in chains.items():
                    works.create_task(self._in_order(lane, chain), name=f"consuming key {key!r}")

    async def _in_order(self, lane: Lane, records: Sequence[Record]) -> None:
        """Handle records of one key, save products of which a newer version follows."""
        items = [_read(record) for record in records]
        newest = dict(_newest(items))
        for item in items:
            product = _product(item)
            if product is None or newest[product[:2]] is item:
                await self._settle(item)
            lane.finish(item.record)
            await asyncio.sleep(0)

    async def _settle(self, item: Item) -> None:
        """Try until the record took effect or is a dead letter."""
        for attempt in count(1):
            try:
                async with self._places:
                    refused = await self._refusal(item, attempt)
                    if refused is not None:
                        await self._give_up(item, refused, attempt)
            except TradewireError as error:
                _log.warning("a record is tried again", **_place(item), reason=str(error))
            else:
                return
            self._metrics.consume_retries.add()
            await asyncio.sleep(backoff(attempt))

    async def _refusal(self, item: Item, attempt: int) -> str | None:
        """Let a record take effect; why it never will, None if it did.

        Raises:
            TradewireError: try it again.
        """
        if isinstance(item.events, TradewireError):
            return _told(item.events)
        try:
            await self._handle(item.events)
        except TradewireError as error:
            if error.retry:
                raise
            return _told(error)
        except Exception as error:
            _log.exception("a record could not be handled", **_place(item))
            if attempt < ATTEMPTS:
                raise Unavailable("Its handling failed; see the log.") from error
            return f"{type(error).__name__}: {error}"
        return None

    async def _give_up(self, item: Item, error: str, attempts: int) -> None:
        await self._dead_letters.put(item.record, error, attempts)
        self._metrics.dead_letters.add(labels=(item.record.partition[0],))
        _log.warning("a record became a dead letter", **_place(item), error=error)


def _read(record: Record) -> Item:
    try:
        headers = {name.lower(): (value or b"").decode() for name, value in record.headers}
        return Item(record, cloudevents.decode(headers, record.value or b""))
    except UnicodeDecodeError as error:
        return Item(record, BadRequest(f"A header is not text: {error}"))
    except TradewireError as error:
        return Item(record, error)


def _newest(items: Iterable[Item]) -> Iterator[tuple[tuple[str, str], Item]]:
    """Each product with the record of its greatest version, the last in the order of versions."""
    versions = ((product, item) for item in items if (product := _product(item)) is not None)
    for (tenant, product_id, _), item in sorted(versions, key=lambda each: each[0]):
        yield (tenant, product_id), item


def _product(item: Item) -> tuple[str, str, int] | None:
    """Tenant, product and version, of a record that tells just of a product."""
    if isinstance(item.events, TradewireError) or len(item.events) != 1:
        return None
    event = item.events[0]
    if not isinstance(event.data, ProductUpdated):
        return None
    return event.tenant, event.data.product_id, event.data.version


def _told(error: TradewireError) -> str:
    return f"{error.code}: {error}" + (f" ({error.field})" if error.field else "")


def _place(item: Item) -> dict[str, object]:
    topic, partition = item.record.partition
    return {"topic": topic, "partition": partition, "offset": item.record.offset}
