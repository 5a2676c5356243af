"""What the driver's errors are to the rest of the program."""

import cassandra
import structlog
from cassandra.cluster import NoHostAvailable
from cassandra.connection import ConnectionException
from cassandra.protocol import IsBootstrappingErrorMessage, OverloadedErrorMessage, ServerError

from tradewire.domain.errors import Overloaded, TradewireError, Unavailable

_log = structlog.get_logger(__name__)

AWAY = (
    cassandra.OperationTimedOut,
    cassandra.Timeout,
    cassandra.Unavailable,
    cassandra.CoordinationFailure,
    NoHostAvailable,
    ConnectionException,
    IsBootstrappingErrorMessage,
    ServerError,
)
"""The cluster, or enough of it, is not there now."""


def translated(error: Exception) -> TradewireError:
    """The error that the caller of a store gets; the cause stays with it."""
    overloaded = isinstance(error, OverloadedErrorMessage) or (
        isinstance(error, NoHostAvailable)
        and any(isinstance(each, OverloadedErrorMessage) for each in _errors(error))
    )
    if overloaded:
        return Overloaded("The store has more work than it can take on; try again.")
    if not isinstance(error, AWAY):
        _log.error("the store refused a request", exc_info=error)
    return Unavailable()


def _errors(error: NoHostAvailable) -> list[object]:
    return list(error.errors.values()) if isinstance(error.errors, dict) else []
