"""The data folder: one process at a time, and connections to its database."""

import fcntl
import os
import sqlite3
from pathlib import Path
from typing import TextIO

from tradewire.adapters.sqlite.schema import migrate
from tradewire.ports import StoreError

OLDEST_SQLITE = (3, 37, 0)
"""STRICT tables are of 3.37."""

BUSY_S = 5.0
_STATEMENTS = 256
_WRITER_CACHE_KIB = 65_536
_READER_CACHE_KIB = 16_384


class DataFolder:
    """A folder with `tradewire.db` in it, locked as long as it is open."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock: TextIO | None = None

    @property
    def database(self) -> Path:
        """The database file."""
        return self._path / "tradewire.db"

    @property
    def log(self) -> Path:
        """The write-ahead log beside it."""
        return self._path / "tradewire.db-wal"

    def open(self) -> None:
        """Lock the folder, made if it is missing, and bring the schema up.

        Raises:
            StoreError: it cannot be used; the message says why.
        """
        if sqlite3.sqlite_version_info < OLDEST_SQLITE:
            needed = ".".join(map(str, OLDEST_SQLITE))
            raise StoreError(f"SQLite {sqlite3.sqlite_version} is too old: {needed} is needed.")
        try:
            self._path.mkdir(parents=True, exist_ok=True)
            self._lock = self._acquire()
            database = self.connect()
            try:
                migrate(database)
            finally:
                database.close()
        except OSError as error:
            self.close()
            raise StoreError(f"The data folder {self._path} cannot be used: {error}.") from error
        except sqlite3.Error as error:
            self.close()
            raise StoreError(f"{self.database} cannot be opened: {error}.") from error
        except StoreError:
            self.close()
            raise

    def close(self) -> None:
        """Let go of the lock."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def connect(self) -> sqlite3.Connection:
        """A connection that writes: every commit is on the disk when it returns."""
        database = self._connect("rwc", _WRITER_CACHE_KIB)
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = FULL")
        # Checkpoints are taken beside the writer, see maintenance.py.
        database.execute("PRAGMA wal_autocheckpoint = 0")
        database.execute("PRAGMA secure_delete = OFF")
        return database

    def connect_reader(self) -> sqlite3.Connection:
        """A connection that only reads."""
        database = self._connect("ro", _READER_CACHE_KIB)
        database.execute("PRAGMA query_only = ON")
        return database

    def _connect(self, mode: str, cache_kib: int) -> sqlite3.Connection:
        database = sqlite3.connect(
            f"{self.database.absolute().as_uri()}?mode={mode}",
            uri=True,
            timeout=BUSY_S,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=_STATEMENTS,
        )
        database.execute(f"PRAGMA cache_size = -{cache_kib}")
        return database

    def _acquire(self) -> TextIO:
        lock = (self._path / "lock").open("a+")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            lock.seek(0)
            owner = lock.read().strip() or "unknown"
            lock.close()
            raise StoreError(
                f"The data folder {self._path} is in use by the process {owner}."
            ) from error
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        return lock
