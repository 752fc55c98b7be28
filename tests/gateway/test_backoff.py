"""How long to wait before a request is tried anew."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from gateway.backoff import BASE_S, wait_s

CHANCES = st.floats(0, 1, exclude_max=True)


@given(st.integers(1, 10), CHANCES, st.booleans())
def test_a_wait_is_within_a_bound_that_doubles(retry: int, chance: float, refused: bool) -> None:
    assert 0 <= wait_s(retry, chance, refused=refused) <= BASE_S * 2 ** (retry - 1)


@given(CHANCES)
def test_after_a_connection_that_was_refused_another_rank_is_asked_at_once(chance: float) -> None:
    assert wait_s(1, chance, refused=True) == 0
    assert wait_s(2, chance, refused=True) == wait_s(2, chance, refused=False)


def test_requests_that_failed_together_come_back_spread_over_the_whole_bound() -> None:
    random = Random(5)
    waits = sorted(wait_s(2, random.random(), refused=False) for _ in range(1_000))
    assert waits[100] < 0.3 * BASE_S
    assert waits[900] > 1.7 * BASE_S
