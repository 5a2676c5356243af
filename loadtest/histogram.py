"""Histograms: sparse ones, which cost the generator little, and the HdrHistogram made of them.

Both round to the same three digits. A sparse one holds an entry for each value that was seen,
22,000 at most, so it stays small however long a run is.
"""

from collections import Counter
from collections.abc import Mapping

from hdrh.histogram import HdrHistogram

from loadtest.results import GREATEST_US, LEAST_US, new_histogram

_BITS = 11
_EXACT = 1 << _BITS
"""As many leading bits of a value are kept: 2,048 values, three digits."""


def microseconds(seconds: float) -> int:
    """A time as a sparse histogram counts it."""
    value = int(seconds * 1e6)
    if value < _EXACT:
        return value
    surplus = value.bit_length() - _BITS
    return value >> surplus << surplus


def percentiles_ms(counts: Mapping[int, int], *percents: float) -> list[float | None]:
    """The times below which so many percent lie, in milliseconds; None of an empty histogram."""
    if not counts:
        return [None for _ in percents]
    histogram = hdr(counts)
    found = histogram.get_percentile_to_value_dict(percents)
    return [found[percent] / 1000 for percent in percents]


def hdr(counts: Mapping[int, int]) -> HdrHistogram:
    """The same as an HdrHistogram, in which what is out of its range counts as its ends."""
    histogram = new_histogram()
    for value, count in counts.items():
        histogram.record_value(min(max(value, LEAST_US), GREATEST_US), count)
    return histogram


def add(total: dict[str, Counter[int]], more: Mapping[str, Mapping[int, int]]) -> None:
    """Add histograms to others, name by name."""
    for name, counts in more.items():
        total.setdefault(name, Counter()).update(counts)
