"""A cell whose nodes are in one process."""

import time
from collections.abc import Iterable, Mapping

from tradewire.ports import Refusal

User = tuple[str, str]


class Cell:
    """What its nodes share: which of them live, by number, when one ended last, who is connected
    where, and who was refused.
    """

    def __init__(self) -> None:
        self.living: dict[int, int] = {}
        self.places: dict[User, set[int]] = {}
        self.refusals: list[Refusal] = []
        self.ended_at = float("-inf")

    def end(self, node: int) -> None:
        """A node lives no more."""
        del self.living[node]
        self.ended_at = time.monotonic()


class MemoryCluster:
    """See ports.Cluster; the node lives until it is taken out of the cell. What becomes of others
    is seen at once, save between `look_away` and the next `look`.
    """

    def __init__(self, cell: Cell, node: int, run: int) -> None:
        self._cell = cell
        self.node = node
        self.run = run
        self._seen: dict[int, int] | None = None
        cell.living[node] = run

    @property
    def others(self) -> Mapping[int, int]:
        living = self._cell.living if self._seen is None else self._seen
        return {node: run for node, run in living.items() if node != self.node}

    def alone_since(self, moment: float) -> bool:
        return not self.others and self._cell.ended_at < moment

    def look_away(self) -> None:
        """See nothing of what becomes of other nodes."""
        self._seen = dict(self._cell.living)

    async def look(self) -> None:
        self._seen = None

    async def join(self, tenant: str, user_id: str) -> None:
        self._cell.places.setdefault((tenant, user_id), set()).add(self.node)

    async def leave(self, tenant: str, user_id: str) -> None:
        self._cell.places[tenant, user_id].discard(self.node)

    def expect(self, users: Iterable[User]) -> None:
        pass

    async def find(self, users: Iterable[User]) -> dict[User, frozenset[int]]:
        others = self.others.keys()
        places = self._cell.places
        return {user: frozenset(places.get(user, set()) & others) for user in users}

    async def refusals(self, after: int) -> list[Refusal]:
        return [refusal for refusal in self._cell.refusals if refusal.id > after]
