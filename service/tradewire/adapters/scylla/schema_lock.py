"""The lock of those who change a schema: a row with a time to live; everything here blocks."""

import os
import platform
import time
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Self
from uuid import NAMESPACE_OID, uuid4, uuid5

from tradewire.adapters.scylla.cluster import DRIVER_ERRORS
from tradewire.adapters.scylla.transactions import ATTEMPTS, Transactions
from tradewire.ports import StoreError

LIFE_S = 60
"""Longer than one statement takes until every node agrees; how long a dead holder blocks others."""

RENEWED_S = 5.0
WAIT_S = 120.0
ASKED_S = 0.5
TOLD_S = 5.0

_TABLE = """
CREATE TABLE IF NOT EXISTS {keyspace}.schema_lock (name text, holder text, PRIMARY KEY ((name)))
WITH comment = 'who changes the schema'"""
_TAKE = """
INSERT INTO {keyspace}.schema_lock (name, holder) VALUES ('schema', %s)
IF NOT EXISTS USING TTL {life}"""
_KEEP = """
UPDATE {keyspace}.schema_lock USING TTL {life} SET holder = %s
WHERE name = 'schema' IF holder = %s"""
_DROP = "DELETE FROM {keyspace}.schema_lock WHERE name = 'schema' IF holder = %s"
_HOLDER = "SELECT holder FROM {keyspace}.schema_lock WHERE name = 'schema'"


def lock_table(keyspace: str, dialect: str) -> str:
    """The statement that makes the table, before anybody can hold the lock.

    Apache Cassandra gives a table that two nodes make at once two identities, unless it is told
    one; ScyllaDB orders changes of the schema by itself.
    """
    text = _TABLE.format(keyspace=keyspace)
    if dialect == "cassandra":
        text += f" AND id = {uuid5(NAMESPACE_OID, f'{keyspace}.schema_lock')}"
    return text


class SchemaLock:
    """Held from `with` to its end, by one in the whole cluster."""

    def __init__(
        self, transactions: Transactions, keyspace: str, tell: Callable[[str], None]
    ) -> None:
        self._transactions = transactions
        self._keyspace = keyspace
        self._tell = tell
        self._me = f"{platform.node()}/{os.getpid()}/{uuid4().hex[:8]}"
        self._renewed_at = 0.0

    def __enter__(self) -> Self:
        """Wait for the lock.

        Raises:
            StoreError: others had it for too long.
        """
        deadline = time.monotonic() + WAIT_S
        told_at = float("-inf")
        while not self._take():
            now = time.monotonic()
            if now > deadline:
                raise StoreError(
                    f"Others have been changing the schema of the keyspace {self._keyspace} for"
                    f" {WAIT_S:g} s, {self._holder()} now: see what it waits for, and try again."
                )
            if now - told_at >= TOLD_S and (holder := self._holder()):
                told_at = now
                self._tell(f"waiting: {holder} changes the schema")
            time.sleep(ASKED_S)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # One that cannot be let go runs out by itself.
        with suppress(*DRIVER_ERRORS):
            self._transactions.apply(self._text(_DROP), self._me)

    def keep(self) -> None:
        """Renew the lock from time to time; to be called before every statement.

        Raises:
            StoreError: it is lost, to somebody who goes on from here.
        """
        if time.monotonic() - self._renewed_at < RENEWED_S:
            return
        for _ in range(ATTEMPTS):
            now = time.monotonic()
            if self._transactions.apply(self._text(_KEEP), self._me, self._me):
                self._renewed_at = now
                return
            if self._holder() != self._me:
                break
        raise StoreError(
            f"The lock on the schema of the keyspace {self._keyspace} was lost: this took more"
            f" than {LIFE_S} s. Try again."
        )

    def _take(self) -> bool:
        self._renewed_at = time.monotonic()
        return self._transactions.apply(self._text(_TAKE), self._me) or self._holder() == self._me

    def _holder(self) -> str | None:
        rows = self._transactions.read(self._text(_HOLDER))
        holder: str | None = rows[0][0] if rows else None
        return holder

    def _text(self, statement: str) -> str:
        return statement.format(keyspace=self._keyspace, life=LIFE_S)
