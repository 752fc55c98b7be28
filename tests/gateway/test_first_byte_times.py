"""What is learned of how long answers take to their first byte."""

from random import Random

import pytest

from gateway.first_byte_times import ENOUGH, GROWTH, MANY, FirstByteTimes, class_of

SIZE = class_of(1_000, 100, streamed=True)


def learned(*times_s: float) -> float | None:
    times = FirstByteTimes()
    for seconds in times_s:
        times.observe(SIZE, seconds)
    return times.p95_s(SIZE)


def test_of_too_few_answers_nothing_is_concluded() -> None:
    assert learned(*[0.1] * (ENOUGH - 1)) is None
    assert learned(*[0.1] * ENOUGH) is not None


@pytest.mark.parametrize("scale_s", [0.002, 0.1, 5.0, 600.0])
def test_the_95th_percentile_is_learned_to_a_fifth(scale_s: float) -> None:
    random = Random(3)
    times_s = [scale_s * random.expovariate(1) for _ in range(1_900)]
    right_s = sorted(times_s)[int(0.95 * len(times_s))]
    found_s = learned(*times_s)
    assert found_s is not None
    assert right_s / GROWTH**1.01 <= found_s <= right_s * GROWTH**1.01


def test_what_was_long_ago_is_forgotten() -> None:
    slow_then_fast = [10.0] * MANY + [0.1] * 5 * MANY
    assert (learned(*slow_then_fast) or 0) < 0.2


@pytest.mark.parametrize("seconds", [0.0, 1e-9, 1e9])
def test_no_time_is_too_short_or_too_long(seconds: float) -> None:
    assert learned(*[seconds] * ENOUGH) is not None


def test_requests_of_other_sizes_and_answers_of_other_lengths_are_learned_apart() -> None:
    sizes = {class_of(prompt, output, streamed=False) for prompt in (1, 100, 10_000) for output in (1, 100)}
    assert len(sizes) == 6
    assert class_of(100, 1, streamed=True) == class_of(100, 5_000, streamed=True)
    assert class_of(100, 1, streamed=True) not in sizes
    times = FirstByteTimes()
    for _ in range(ENOUGH):
        times.observe(SIZE, 1.0)
    assert times.p95_s(class_of(10, 10, streamed=True)) is None
