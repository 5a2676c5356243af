"""Lightweight transactions for what the whole cluster must agree on; everything here blocks.

They are settled among all datacenters, which costs round trips between them: for rare things.
"""

import time
from typing import Any

from cassandra import ConsistencyLevel
from cassandra.cluster import Session
from cassandra.query import SimpleStatement

from tradewire.adapters.scylla.errors import AWAY

Row = tuple[Any, ...]

ATTEMPTS = 6
PAUSE_S = 0.2


class Transactions:
    """Runs them in a session. Values are bound to `%s`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def apply(self, text: str, *values: object) -> bool:
        """Run one; whether it is known to have been applied.

        One that is not may have been applied all the same: `read` tells what holds.
        """
        statement = SimpleStatement(
            text,
            consistency_level=ConsistencyLevel.QUORUM,
            serial_consistency_level=ConsistencyLevel.SERIAL,
        )
        try:
            return bool(self._session.execute(statement, values).one()[0])
        except AWAY:
            return False

    def read(self, text: str, *values: object) -> list[Row]:
        """What a query finds once all transactions under way are settled.

        Raises:
            DRIVER_ERRORS of the cluster: it did not answer, again and again.
        """
        statement = SimpleStatement(
            text, consistency_level=ConsistencyLevel.SERIAL, is_idempotent=True
        )
        for pause in range(1, ATTEMPTS):
            try:
                return list(self._session.execute(statement, values))
            except AWAY:
                # Others' transactions on the same row are in the way, most likely.
                time.sleep(pause * PAUSE_S)
        return list(self._session.execute(statement, values))
