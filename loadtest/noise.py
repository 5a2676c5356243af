"""Whether two series differ by more than their own noise.

The noise of a run is the spread of its seconds. Neighbouring seconds resemble each other, so that
pieces of neighbours are drawn, not single ones (a circular block bootstrap, in which a piece has
the cube root of the length of the series). A difference of the medians counts when it is more than
3 % and its confidence interval leaves out 0. What differs between runs as a whole (the state of the
machine, of the disk) is not in the seconds of either, and only repeated runs show it.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

RESAMPLES = 2000
CONFIDENCE = 0.99
"""So high because a comparison judges a dozen figures for each step."""
DEVIATIONS = 2.58
"""Of a normal distribution, so many standard deviations hold 99 %."""
LEAST_PERCENT = 3.0
LEAST_SECONDS = 10
SEED = 1

Values = npt.NDArray[np.float64]
Interval = tuple[float, float]


def interval(before: Sequence[float], after: Sequence[float]) -> Interval | None:
    """The confidence interval of the difference of the medians, in percent of that of ``before``.

    None when a series has fewer than 10 values, or when the median of the first is 0. The same
    series give the same interval.
    """
    first, second = np.array(before, dtype=float), np.array(after, dtype=float)
    middle = float(np.median(first)) if first.size else 0.0
    if min(first.size, second.size) < LEAST_SECONDS or not middle:
        return None
    generator = np.random.default_rng(SEED)
    differences = medians(second, generator) - medians(first, generator)
    outside = (1 - CONFIDENCE) / 2
    low, high = np.quantile(differences, (outside, 1 - outside))
    return 100 * float(low) / middle, 100 * float(high) / middle


def medians(series: Values, generator: np.random.Generator) -> Values:
    """The medians of series of the same length that are drawn from this one, piece by piece."""
    size = series.size
    piece = round(size ** (1 / 3))
    starts = generator.integers(size, size=(RESAMPLES, -(-size // piece), 1))
    places: npt.NDArray[Any] = (starts + np.arange(piece)) % size
    drawn: Values = series[places.reshape(RESAMPLES, -1)[:, :size]]
    return np.asarray(np.median(drawn, axis=1), dtype=np.float64)


def beyond(percent: float, found: Interval) -> bool:
    """Whether a difference of the medians counts."""
    low, high = found
    return abs(percent) > LEAST_PERCENT and (low > 0 or high < 0)


def shares_differ(before: tuple[int, int], after: tuple[int, int]) -> bool:
    """Whether two shares, each given as (hits, tries), differ by more than chance (99 %)."""
    (hits_before, tries_before), (hits_after, tries_after) = before, after
    if not tries_before or not tries_after:
        return False
    shared = (hits_before + hits_after) / (tries_before + tries_after)
    spread = np.sqrt(shared * (1 - shared) * (1 / tries_before + 1 / tries_after))
    difference = abs(hits_before / tries_before - hits_after / tries_after)
    return bool(difference > DEVIATIONS * spread)
