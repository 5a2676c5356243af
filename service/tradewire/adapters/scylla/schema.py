"""The schema of a keyspace: brought up, taken down, and asked for; everything here blocks.

One process in the whole cluster changes it at a time, one statement after another, each once all
nodes agree on the one before: Apache Cassandra breaks tables that two nodes change at once. A row
for each migration says whether all of it is there, so that one which was cut off is run again.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import cassandra
from cassandra.cluster import Session
from msgspec.structs import replace

from tradewire.adapters.scylla.cluster import DRIVER_ERRORS, Connected, connect
from tradewire.adapters.scylla.definitions import agree, define, make_keyspace, nodes_known
from tradewire.adapters.scylla.migrations import Migration, packaged
from tradewire.adapters.scylla.options import Options
from tradewire.adapters.scylla.schema_lock import SchemaLock, lock_table
from tradewire.adapters.scylla.transactions import ATTEMPTS, Transactions
from tradewire.ports import StoreError

Tell = Callable[[str], None]
"""Hears of each step, as a line for people."""

Records = Mapping[int, bool]
"""Of each migration that the keyspace may have something of: whether it has all."""

_TABLE = """
CREATE TABLE IF NOT EXISTS {keyspace}.schema_migrations (
    program text, version int, name text, finished boolean, changed_at timestamp,
    PRIMARY KEY ((program), version)
) WITH comment = 'migrations of this keyspace'"""
_ADD = """
INSERT INTO {keyspace}.schema_migrations (program, version, name, finished, changed_at)
VALUES ('tradewire', %s, %s, false, toTimestamp(now())) IF NOT EXISTS"""
_SET = """
UPDATE {keyspace}.schema_migrations SET finished = %s, changed_at = toTimestamp(now())
WHERE program = 'tradewire' AND version = %s IF EXISTS"""
_REMOVE = """
DELETE FROM {keyspace}.schema_migrations WHERE program = 'tradewire' AND version = %s IF EXISTS"""
_RECORDS = """
SELECT version, finished FROM {keyspace}.schema_migrations WHERE program = 'tradewire'"""


def newest() -> int:
    """The newest schema that this program knows."""
    return len(packaged())


def status(connected: Connected, options: Options) -> int | None:
    """The schema that the keyspace has; None where there is none yet, or no keyspace.

    Raises:
        StoreError: the cluster does not answer.
    """
    with _told(options):
        records = _records(connected.session, options.keyspace)
        return None if records is None else _version(records)


def require_current(connected: Connected, options: Options) -> None:
    """Check that the keyspace has the schema that this program needs.

    Raises:
        StoreError: it has an older one, a newer one, or none; the message says what to do.
    """
    with _told(options):
        records = _records(connected.session, options.keyspace)
    if records is None:
        raise StoreError(
            f"The keyspace {options.keyspace} is not there, or has no schema yet:"
            " run `tradewire migrate up`."
        )
    _refuse_newer(records, options, packaged())
    if (version := _version(records)) < newest():
        raise StoreError(
            f"The keyspace {options.keyspace} has schema {version}, this program needs schema"
            f" {newest()}: run `tradewire migrate up`."
        )


def up(options: Options, tell: Tell, *, steps: Sequence[Migration] | None = None) -> int:
    """Bring the schema up, and make the keyspace where there is none; returns the version.

    Raises:
        StoreError: it cannot be done, or the schema is newer than this program. What was done so
            far stays, and doing it again goes on from there.
    """
    steps = packaged() if steps is None else steps
    with reached(options) as connected:
        records = _records(connected.session, options.keyspace)
        if records is None or not _current(records, options, steps):
            with _changing(connected, options, tell) as change:
                change.up(steps)
    return len(steps)


def down(options: Options, tell: Tell, *, to: int, steps: Sequence[Migration] | None = None) -> int:
    """Take the schema back to version `to`, with all data that only newer ones hold; 0 is nothing.

    Raises:
        StoreError: it cannot be done, or the schema is newer than this program, or below `to`.
    """
    steps = packaged() if steps is None else steps
    with reached(options) as connected:
        if _records(connected.session, options.keyspace) is None:
            raise StoreError(f"The keyspace {options.keyspace} is not there, or has no schema.")
        with _changing(connected, options, tell) as change:
            change.down(steps, to)
    return to


class Change:
    """What is done to the schema while its lock is held."""

    def __init__(
        self,
        connected: Connected,
        options: Options,
        tell: Tell,
        lock: SchemaLock,
    ) -> None:
        self._connected = connected
        self._session = connected.session
        self._options = options
        self._tell = tell
        self._lock = lock
        self._transactions = Transactions(connected.session)

    def up(self, steps: Sequence[Migration]) -> None:
        """Run every migration that is not there, or not all of it."""
        define(self._session, self._text(_TABLE))
        records = self._records()
        _refuse_newer(records, self._options, steps)
        self._session.set_keyspace(self._options.keyspace)
        for step in steps:
            if not records.get(step.version):
                self._make(step)

    def down(self, steps: Sequence[Migration], to: int) -> None:
        """Take back every migration above `to` that anything is there of, the newest first."""
        records = self._records()
        _refuse_newer(records, self._options, steps)
        if to > _version(records):
            raise StoreError(
                f"The keyspace {self._options.keyspace} has schema {_version(records)}:"
                f" there is no way down to {to}."
            )
        self._session.set_keyspace(self._options.keyspace)
        for version in sorted(records, reverse=True):
            if version > to:
                self._unmake(steps[version - 1])

    def _make(self, step: Migration) -> None:
        version = step.version
        self._record(version, False, _ADD, version, step.name)
        self._run(f"schema {version} ({step.name})", step.up(self._connected.dialect))
        self._record(version, True, _SET, True, version)

    def _unmake(self, step: Migration) -> None:
        version = step.version
        self._record(version, False, _SET, False, version)
        self._run(f"back from schema {version} ({step.name})", step.down())
        self._record(version, None, _REMOVE, version)

    def _run(self, about: str, statements: Sequence[str]) -> None:
        for number, statement in enumerate(statements, 1):
            self._lock.keep()
            self._tell(f"{about}, {number} of {len(statements)}: {_title(statement)}")
            define(self._session, statement)
        self._lock.keep()

    def _record(self, version: int, wanted: bool | None, text: str, *values: object) -> None:
        """Run a transaction until the record is as wanted: finished, not finished, not there."""
        for _ in range(ATTEMPTS):
            self._transactions.apply(self._text(text), *values)
            if self._records().get(version) is wanted:
                return
        raise StoreError(f"The record of schema {version} cannot be written: try again.")

    def _records(self) -> Records:
        return dict(self._transactions.read(self._text(_RECORDS)))

    def _text(self, statement: str) -> str:
        return statement.format(keyspace=self._options.keyspace)


@contextmanager
def _told(options: Options) -> Iterator[None]:
    """Errors of the driver as errors of the store."""
    try:
        yield
    except DRIVER_ERRORS as error:
        raise StoreError(
            f"The cluster does not do what the schema of the keyspace {options.keyspace} needs:"
            f" {error}"
        ) from error


@contextmanager
def reached(options: Options) -> Iterator[Connected]:
    """A connection to any node of the cluster, and to no keyspace, for it may not be there yet.

    Raises:
        StoreError: it cannot be reached, or has no such datacenter; or the driver fails meanwhile.
    """
    with _told(options):
        connected = connect(replace(options, datacenter=None), keyspace=False)
        try:
            _check_datacenter(connected, options)
            yield connected
        finally:
            connected.close()


@contextmanager
def _changing(connected: Connected, options: Options, tell: Tell) -> Iterator[Change]:
    """The right to change the schema, the keyspace being made where it is missing."""
    session = connected.session
    make_keyspace(connected, options, tell)
    agree(session)
    define(session, lock_table(options.keyspace, connected.dialect))
    agree(session)
    with SchemaLock(Transactions(session), options.keyspace, tell) as lock:
        # The one before may have died between a statement and the agreement on it.
        agree(session)
        yield Change(connected, options, tell, lock)


def _check_datacenter(connected: Connected, options: Options) -> None:
    known = nodes_known(connected)
    if options.datacenter and options.datacenter not in known:
        raise StoreError(
            f"The cluster has no datacenter {options.datacenter} (SCYLLA_DATACENTER); it has"
            f" {', '.join(known)}."
        )


def _records(session: Session, keyspace: str) -> Records | None:
    """What is recorded, maybe a moment ago; None without keyspace or table."""
    try:
        return dict(session.execute(_RECORDS.format(keyspace=keyspace)))
    except cassandra.InvalidRequest:
        return None


def _version(records: Records) -> int:
    version = 0
    while records.get(version + 1):
        version += 1
    return version


def _current(records: Records, options: Options, steps: Sequence[Migration]) -> bool:
    _refuse_newer(records, options, steps)
    return _version(records) == len(steps)


def _refuse_newer(records: Records, options: Options, steps: Sequence[Migration]) -> None:
    if (found := max(records, default=0)) > len(steps):
        raise StoreError(
            f"The keyspace {options.keyspace} has schema {found}, this program knows schema"
            f" {len(steps)}: run the newer program, or have it take the schema back with"
            f" `tradewire migrate down --to {len(steps)}`."
        )


def _title(statement: str) -> str:
    """What a statement is about: its first words, up to a parenthesis or its options."""
    return statement.partition("(")[0].partition(" WITH ")[0].strip()
