from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from loadtest.histogram import add, hdr, microseconds, percentiles_ms
from loadtest.results import decoded, encoded, new_histogram

TIMES = st.lists(st.floats(1e-6, 500), min_size=1, max_size=50)


@given(TIMES)
@settings(max_examples=25)
def test_a_sparse_histogram_is_that_of_all_values(times: list[float]) -> None:
    whole = new_histogram()
    for time in times:
        whole.record_value(max(1, int(time * 1e6)))
    sparse = hdr(Counter(map(microseconds, times)))
    for percent in (0, 50, 99, 100):
        assert sparse.get_value_at_percentile(percent) == whole.get_value_at_percentile(percent)


@given(st.floats(1e-6, 500))
def test_three_digits_are_kept(time: float) -> None:
    assert 0 <= time * 1e6 - microseconds(time) <= max(1.0, time * 1e3)


def test_histograms_are_added_up_name_by_name() -> None:
    total: dict[str, Counter[int]] = {}
    add(total, {"send": {10: 1, 20: 2}})
    add(total, {"send": {20: 3}, "inbox": {5: 1}})
    assert total == {"send": {10: 1, 20: 5}, "inbox": {5: 1}}


@given(TIMES, TIMES)
def test_the_sum_of_two_is_that_of_all_values(one: list[float], other: list[float]) -> None:
    total: dict[str, Counter[int]] = {}
    for times in (one, other):
        add(total, {"send": Counter(map(microseconds, times))})
    merged = hdr(Counter(map(microseconds, one + other)))
    assert encoded(hdr(total["send"])) == encoded(merged)


def test_what_is_out_of_range_counts_as_its_ends() -> None:
    histogram = decoded(encoded(hdr({0: 1, 10**12: 1})))
    assert histogram.get_total_count() == 2


def test_percentiles_are_in_milliseconds() -> None:
    assert percentiles_ms({1000: 99, 50_000: 1}, 50, 99) == [1.0, 1.0]
    assert percentiles_ms({}, 50) == [None]
