"""Figures as people read them."""

from math import floor, log10

import msgspec

MIB = 2**20
NOTHING = "-"
MOST_DECIMALS = 6


def quantity(value: float | None, unit: str = "") -> str:
    """A count as it is, any other figure to three digits at least; "-" for none.

    >>> quantity(18123.4, "/s"), quantity(4.6, "ms"), quantity(1200), quantity(None, "ms")
    ('18,123/s', '4.60 ms', '1,200', '-')
    """
    if value is None:
        return NOTHING
    space = " " if unit and not unit.startswith("/") else ""
    return f"{value:,.{decimals(value)}f}{space}{unit}"


def percent(value: float | None) -> str:
    """A difference in percent, with its sign."""
    return NOTHING if value is None else f"{value:+,.1f} %"


def decimals(value: float) -> int:
    """How many digits after the point make three of them in all."""
    if isinstance(value, int) or value == 0:
        return 0
    return min(max(2 - floor(log10(abs(value))), 0), MOST_DECIMALS)


def plain(value: object) -> str:
    """A value of a scenario or a setting: text as it is, "-" for none, anything else as JSON."""
    if value is None:
        return NOTHING
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def span(interval: tuple[float, float] | None) -> str:
    """An interval in percent; "" for none."""
    return "" if interval is None else "{:+,.1f} to {:+,.1f} %".format(*interval)
