"""Times that other services tell, as milliseconds since 1970."""

from datetime import datetime

from tradewire.domain.errors import InvalidField

YEAR_10000_MS = 253_402_300_800_000


def milliseconds(moment: datetime, field: str) -> int:
    """A time with an offset in milliseconds since 1970.

    Raises:
        InvalidField: outside the years 1970 to 9999 in UTC, which is all that RFC 3339 can write.
    """
    value = round(moment.timestamp() * 1000)
    if not 0 <= value < YEAR_10000_MS:
        raise InvalidField(f"{field} is outside the years 1970 to 9999.", field=field)
    return value
