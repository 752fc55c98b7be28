"""How many retries a gateway allows itself."""

from collections import deque
from contextlib import ExitStack

from hypothesis import given
from hypothesis import strategies as st

from gateway.retry_budget import FLOOR, WINDOW_S, RecentCount, RetryBudget


class Clock:
    """Time that passes when a test says so."""

    def __init__(self) -> None:
        self.now_s = 1_000.5

    def __call__(self) -> float:
        return self.now_s


def taken(budget: RetryBudget, at_most: int = 10_000) -> int:
    """How many second retries it allows now."""
    return next(count for count in range(at_most) if not budget.take(is_first=False))


def test_a_gateway_with_nothing_to_do_may_retry_a_little() -> None:
    budget = RetryBudget(Clock())
    assert taken(budget) == FLOOR
    assert not budget.take(is_first=False)


def test_each_request_under_way_or_ended_lately_allows_one_more() -> None:
    budget = RetryBudget(Clock())
    with ExitStack() as under_way:
        for _ in range(30):
            under_way.enter_context(budget)
        assert taken(budget) == FLOOR + 30
    assert not budget.take(is_first=False)
    with budget:
        assert taken(budget) == 1


def test_a_request_keeps_its_first_retry_whatever_others_have_used_up() -> None:
    budget = RetryBudget(Clock())
    with ExitStack() as under_way:
        for _ in range(30):
            under_way.enter_context(budget)
        for _ in range(100):
            with budget:
                assert budget.take(is_first=True)
                budget.take(is_first=False)
        assert taken(budget) == 0
        assert all(budget.take(is_first=True) for _ in range(30))
    assert taken(budget) == 0


def test_what_happened_long_ago_counts_no_more() -> None:
    budget = RetryBudget(clock := Clock())
    for _ in range(30):
        with budget:
            pass
    assert taken(budget) == FLOOR + 30
    clock.now_s += WINDOW_S
    assert taken(budget) == FLOOR


def test_retries_at_most_double_a_load_of_which_everything_fails() -> None:
    budget = RetryBudget(clock := Clock())
    seconds, per_second, retries = 60, 100, 0
    for _ in range(seconds * per_second):
        clock.now_s += 1 / per_second
        with budget:
            retries += sum(budget.take(is_first=is_first) for is_first in (True, False))
    assert retries <= FLOOR * seconds / WINDOW_S + seconds * per_second + 2 * WINDOW_S * per_second


@given(st.lists(st.tuples(st.floats(0, 30), st.booleans()), max_size=60))
def test_a_recent_count_is_right_to_a_second(steps: list[tuple[float, bool]]) -> None:
    count, times, now_s = RecentCount(), deque[float](), 0.0
    for pause_s, adds in steps:
        now_s += pause_s
        if adds:
            count.add(now_s)
            times.append(now_s)
        told = count.total(now_s)
        assert sum(now_s - time_s < WINDOW_S - 1 for time_s in times) <= told
        assert told <= sum(now_s - time_s < WINDOW_S for time_s in times)
