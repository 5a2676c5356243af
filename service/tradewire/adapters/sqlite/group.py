"""A commit group: units that share one transaction, each undone alone if it fails."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import structlog

from tradewire.adapters.sqlite import statements as sql
from tradewire.adapters.sqlite.apply import apply
from tradewire.adapters.sqlite.sends import Move, Sends
from tradewire.adapters.sqlite.session import WriteSession
from tradewire.domain.errors import TradewireError, Unavailable
from tradewire.domain.writes import MoveMarker, NewMessage, Unit, Write

_log = structlog.get_logger(__name__)

Outcome = Sequence[Any] | TradewireError


class CommitGroups:
    """Applies and commits units, group after group; used by one thread at a time."""

    def __init__(self, session: WriteSession) -> None:
        self._session = session
        self._sends = Sends(session)

    def apply(self, units: Sequence[Unit], deadline: float | None = None) -> list[Outcome]:
        """What becomes of each unit once `commit` has been called.

        `deadline`, of time.monotonic, is for one who cannot wait for a lock either.

        Raises:
            sqlite3.Error: the engine failed, or took too long; none has taken effect.
        """
        with self._undone_if_it_fails():
            self._session.begin(deadline)
            outcomes = [self._apply(unit) for unit in units]
            self._sends.flush()
            self._session.end()
        return [_settled(outcome) for outcome in outcomes]

    def commit(self) -> None:
        """Make durable what was applied.

        Raises:
            sqlite3.Error: the engine failed; none is known to have taken effect.
        """
        with self._undone_if_it_fails():
            self._session.commit()

    @contextmanager
    def _undone_if_it_fails(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self._session.undo()
            self._sends = Sends(self._session)
            raise

    def _apply(self, unit: Unit) -> Outcome | Move:
        """Gather a unit that can wait, apply any other at once."""
        writes = unit.writes
        alone = writes[0] if len(writes) == 1 and unit.handles is None else None
        try:
            if isinstance(alone, NewMessage):
                return (self._sends.send(alone),)
            if isinstance(alone, MoveMarker):
                return self._sends.move(alone)
        except TradewireError as error:
            return error
        except (sqlite3.Error, MemoryError):
            raise
        except Exception as error:  # noqa: BLE001  # a unit must not harm the others
            return _failed(error)
        return self._apply_whole(unit)

    def _apply_whole(self, unit: Unit) -> Outcome:
        self._sends.flush()
        begun = self._session.begin_unit()
        outcome: Outcome
        try:
            outcome = self._results(unit)
            self._sends.flush()
        except TradewireError as error:
            outcome = error
        except (sqlite3.OperationalError, MemoryError):
            raise
        except Exception as error:  # noqa: BLE001  # a unit must not harm the others
            outcome = _failed(error)
        if isinstance(outcome, TradewireError):
            self._sends = Sends(self._session)
            self._session.undo_unit(begun)
        else:
            self._session.end_unit()
        return outcome

    def _results(self, unit: Unit) -> Sequence[Any]:
        if unit.handles is not None:
            database = self._session.database
            if database.execute(sql.WAS_HANDLED, unit.handles).fetchone() is not None:
                return ()
            database.execute(sql.ADD_HANDLED, (*unit.handles, self._session.now_ms()))
        return [self._result(write) for write in unit.writes]

    def _result(self, write: Write) -> Any:
        if isinstance(write, NewMessage):
            return self._sends.send(write)
        if isinstance(write, MoveMarker):
            move = self._sends.move(write)
            self._sends.flush()
            return _moved(move)
        self._sends.flush()
        result = apply(self._session, write)
        self._session.record(write, result)
        return result


def _settled(outcome: Outcome | Move) -> Outcome:
    """The outcome of a unit whose writes have been flushed."""
    if not isinstance(outcome, Move):
        return outcome
    try:
        return (_moved(outcome),)
    except TradewireError as error:
        return error


def _moved(move: Move) -> Any:
    if isinstance(move.outcome, TradewireError):
        raise move.outcome
    return move.outcome


def _failed(error: Exception) -> TradewireError:
    """What a unit that cannot be written tells its owner; the log has the reason."""
    _log.error("a unit could not be written", exc_info=error)
    failed = Unavailable()
    failed.__cause__ = error
    return failed
