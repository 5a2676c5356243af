"""The ports on SQLite, in one data folder."""

from tradewire.adapters.sqlite.store import SqliteStore

__all__ = ["SqliteStore"]
