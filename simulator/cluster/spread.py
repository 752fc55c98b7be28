"""Mean, quantiles and standard error of a figure over the requests of several runs. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from statistics import fmean, stdev

import msgspec

BATCH_COUNTS = (32, 16, 8)
"""Numbers of batches a run is cut into; the least leaves enough to take a deviation of."""


class Spread(msgspec.Struct, frozen=True, kw_only=True):
    """A figure's mean and quantiles, and the standard error of the mean. NaN-free: without a sample all are 0."""

    mean: float
    p50: float
    p90: float
    p99: float
    se: float


def spread(runs: Sequence[Sequence[float]]) -> Spread:
    """The spread of samples in order of arrival, one sequence for each run; each run counts the same.

    Mean and quantiles are the means of the runs' own. The standard error is that between the runs, or, of a single run,
    that of `standard_error_within`.
    """
    sampled = [samples for samples in runs if samples]
    if not sampled:
        return Spread(mean=0.0, p50=0.0, p90=0.0, p99=0.0, se=0.0)
    ordered = [sorted(samples) for samples in sampled]
    means = [fmean(samples) for samples in sampled]
    p50, p90, p99 = (fmean(quantile(samples, share) for samples in ordered) for share in (0.5, 0.9, 0.99))
    se = standard_error(means) if len(means) > 1 else standard_error_within(sampled[0])
    return Spread(mean=fmean(means), p50=p50, p90=p90, p99=p99, se=se)


def quantile(ordered: Sequence[float], share: float) -> float:
    """The value below which `share` of the samples lie, between two of them by linear interpolation.

    `ordered` is sorted and not empty. This is type 7 of Hyndman and Fan (1996), numpy's default.
    """
    place = share * (len(ordered) - 1)
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    # Not a weighted sum, which rounding may put outside the two.
    return min(ordered[above], ordered[below] + (ordered[above] - ordered[below]) * (place - below))


def standard_error(values: Iterable[float]) -> float:
    """Of the mean of values that are independent of each other; 0 of fewer than two, which tell nothing."""
    samples = list(values)
    return stdev(samples) / math.sqrt(len(samples)) if len(samples) > 1 else 0.0


def standard_error_within(samples: Sequence[float]) -> float:
    """Of the mean of one run's samples in order, which are not independent: each queues behind the ones before.

    Batch means (Law and Kelton): the means of long batches are nearly independent. Where batches are still too short
    the estimate is too small, and it grows with their length, so the greatest for BATCH_COUNTS is taken.
    """
    return max(standard_error(_batch_means(samples, count)) for count in BATCH_COUNTS)


def _batch_means(samples: Sequence[float], count: int) -> list[float]:
    """The means of `count` batches of equal length; what is left over at the beginning belongs to none."""
    length = len(samples) // count
    if not length:
        return list(samples)
    begin = len(samples) - length * count
    return [fmean(samples[start : start + length]) for start in range(begin, len(samples), length)]
