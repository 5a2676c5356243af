"""A bounded cache of what is read from the store, one load at a time for each key."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Cache(Generic[K, V]):
    """Remembers loaded values for a while, the least recently loaded dropped first.

    Concurrent readers of one key share its load. A value that was dropped while it was being
    loaded reaches those who waited for it, but is not kept: what is kept is never older than the
    last `put` or `drop`.

    Args:
        on_change: hears the keys of values that were changed here, by `put` or `drop`.

    Attributes:
        age_s: for how long a value is remembered; may be changed at any time.
    """

    def __init__(
        self,
        load: Callable[[K], Awaitable[V]],
        age_s: float,
        size: int = 100_000,
        now: Callable[[], float] = time.monotonic,
        on_change: Callable[[K], None] = lambda _: None,
    ) -> None:
        self._load = load
        self.age_s = age_s
        self._on_change = on_change
        self._size = size
        self._now = now
        self._kept: OrderedDict[K, tuple[float, V]] = OrderedDict()
        self._loading: dict[K, asyncio.Future[V]] = {}

    def peek(self, key: K) -> V | None:
        """The value if it is here and young enough."""
        kept = self._kept.get(key)
        if kept is None or kept[0] + self.age_s < self._now():
            return None
        return kept[1]

    async def get(self, key: K) -> V:
        """The value, loaded if need be. Raises what the load raises."""
        kept = self._kept.get(key)
        if kept is not None and kept[0] + self.age_s >= self._now():
            return kept[1]
        loading = self._loading.get(key)
        if loading is None:
            loading = self._loading[key] = asyncio.ensure_future(self._load(key))
            loading.add_done_callback(lambda done: self._keep(key, done))
        return await asyncio.shield(loading)

    def put(self, key: K, value: V) -> None:
        """Keep what a change made of a value; a load of it that is under way is not kept."""
        self._loading.pop(key, None)
        self._remember(key, value)
        self._on_change(key)

    def drop(self, key: K) -> None:
        """Forget a value that has changed."""
        self.forget(key)
        self._on_change(key)

    def forget(self, key: K) -> None:
        """Forget a value that was changed elsewhere."""
        self._kept.pop(key, None)
        self._loading.pop(key, None)

    def forget_all(self) -> None:
        """Forget everything: some of it may have been changed elsewhere."""
        self._kept.clear()
        self._loading.clear()

    def _remember(self, key: K, value: V) -> None:
        self._kept[key] = (self._now(), value)
        self._kept.move_to_end(key)
        while len(self._kept) > self._size:
            self._kept.popitem(last=False)

    def _keep(self, key: K, loaded: "asyncio.Future[V]") -> None:
        if self._loading.get(key) is not loaded:
            return
        del self._loading[key]
        if not loaded.cancelled() and loaded.exception() is None:
            self._remember(key, loaded.result())
