"""A histogram counts every value once, under the first bound that the value does not exceed."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from netconsd.receive.histogram import Histogram

BOUNDS = (1.0, 2.0, 5.0)


def test_a_value_counts_under_the_first_bound_that_it_does_not_exceed() -> None:
    """A bound is inclusive, as in Prometheus; values above all bounds are counted as well."""
    histogram = Histogram(BOUNDS)
    for value in (0.0, 1.0, 1.5, 5.0, 5.1, float("inf")):
        histogram.observe(value)
    assert histogram.counts == [2, 1, 1, 2]


@given(st.lists(st.tuples(st.integers(0, 10), st.integers(1, 1000))))
def test_every_value_is_counted(values: list[tuple[int, int]]) -> None:
    """Count and sum are those of all values, each counted ``times`` times."""
    histogram = Histogram(BOUNDS)
    for value, times in values:
        histogram.observe(value, times)
    assert sum(histogram.counts) == sum(times for _, times in values)
    assert histogram.sum == sum(value * times for value, times in values)


def test_a_copy_does_not_change() -> None:
    """Values observed after a copy are not in the copy."""
    histogram = Histogram(BOUNDS)
    histogram.observe(1.0)
    copy = histogram.copy()
    histogram.observe(1.0)
    assert (copy.bounds, copy.counts, copy.sum) == (BOUNDS, [1, 0, 0, 0], 1.0)
