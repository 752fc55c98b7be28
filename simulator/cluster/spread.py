"""Mean, quantiles and standard error of a figure over the requests of several runs. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise
from statistics import fmean, stdev

import msgspec

BATCHES = 32
"""So many a run is cut into."""
MOST_CORRELATION = 0.9
"""Of neighbouring batches; above it a run is too short to say how wrong its mean is."""


class Spread(msgspec.Struct, frozen=True, kw_only=True):
    """A figure's mean and quantiles, and the standard error of the mean."""

    mean: float
    p50: float
    p90: float
    p99: float
    se: float


def spread(runs: Sequence[Sequence[float]]) -> Spread | None:
    """The spread of samples in order of arrival, one sequence for each run; each run that has any counts the same.

    None without a sample. Mean and quantiles are the means of the runs' own. The standard error is that between the
    runs, or, of a single run, that of `standard_error_within`.
    """
    sampled = [samples for samples in runs if samples]
    if not sampled:
        return None
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

    Batch means (Law and Kelton): the means of long batches are nearly independent. What correlation neighbours still
    have widens the error as in a first-order autoregression, by the root of (1 + r) / (1 - r).
    """
    length = len(samples) // BATCHES
    if not length:
        return standard_error(samples)
    begin = len(samples) - length * BATCHES
    means = [fmean(samples[start : start + length]) for start in range(begin, len(samples), length)]
    r = _correlation_of_neighbours(means)
    return standard_error(means) * math.sqrt((1 + r) / (1 - r))


def _correlation_of_neighbours(values: Sequence[float]) -> float:
    """Between 0 and MOST_CORRELATION; the estimate from few values is about 1 / len(values) too low."""
    mean = fmean(values)
    deviations = [value - mean for value in values]
    variance = sum(deviation**2 for deviation in deviations)
    if not variance:
        return 0.0
    r = sum(one * next_one for one, next_one in pairwise(deviations)) / variance
    return min(MOST_CORRELATION, max(0.0, r + 1 / len(values)))
