"""Quantiles and standard errors."""

import math
import statistics
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.cluster.spread import quantile, spread, standard_error, standard_error_within

samples = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=200)


@given(samples.filter(lambda values: len(values) > 1))
def test_quantiles_agree_with_the_standard_librarys(values: list[float]) -> None:
    cuts = statistics.quantiles(values, n=100, method="inclusive")
    ordered = sorted(values)
    for percent in (1, 50, 90, 99):
        assert quantile(ordered, percent / 100) == pytest.approx(cuts[percent - 1], rel=1e-6, abs=1e-6)


@given(samples)
def test_quantiles_are_in_order_and_among_the_samples(values: list[float]) -> None:
    found = spread([values])
    assert found
    assert min(values) <= found.p50 <= found.p90 <= found.p99 <= max(values)


@given(samples)
def test_a_run_alone_and_the_same_twice_have_the_same_values(values: list[float]) -> None:
    once, twice = spread([values]), spread([values, values])
    assert once
    assert twice
    assert (twice.mean, twice.p50, twice.p99) == pytest.approx((once.mean, once.p50, once.p99))
    assert twice.se == pytest.approx(0, abs=1e-6)


def test_every_run_counts_the_same() -> None:
    found = spread([[1.0] * 10, [], [3.0] * 1000])
    assert found
    assert found.mean == 2
    assert found.se == pytest.approx(1)


def test_nothing_has_no_spread() -> None:
    assert spread([[], []]) is spread([]) is None


def test_a_sample_alone_has_no_error() -> None:
    found = spread([[5.0]])
    assert found
    assert found.se == 0


def test_the_standard_error_is_the_deviation_over_the_root_of_how_many() -> None:
    assert standard_error([1, 2, 3, 4]) == pytest.approx(statistics.stdev([1, 2, 3, 4]) / 2)


def runs_of(correlation: float, runs: int, length: int) -> list[list[float]]:
    """Runs whose samples go on from the one before, as a queue does; variance 1."""
    chance = Random(7)
    found = []
    for _ in range(runs):
        value = chance.gauss(0, 1)
        values = []
        for _ in range(length):
            value = correlation * value + math.sqrt(1 - correlation**2) * chance.gauss(0, 1)
            values.append(value)
        found.append(values)
    return found


@pytest.mark.parametrize("correlation", [0.0, 0.9, 0.99])
def test_the_error_within_a_run_is_about_that_between_runs(correlation: float) -> None:
    runs = runs_of(correlation, runs=40, length=4000)
    between = statistics.stdev(statistics.fmean(values) for values in runs)
    within = statistics.fmean(standard_error_within(values) for values in runs)
    assert 0.8 < within / between < 1.6


def test_samples_that_hang_together_are_not_taken_for_independent_ones() -> None:
    (values,) = runs_of(0.99, runs=1, length=4000)
    assert standard_error_within(values) > 4 * standard_error(values)
