"""What follows when a launched rank ends."""

from typing import Any

from agent.launch.after_exit import (
    LONG_LIFE_S,
    MAX_TRIES,
    Answer,
    BeginAllAnew,
    BeginAnew,
    EndAll,
    GiveUp,
    Tries,
    after_exit,
)


def answer(tries: Tries, **changes: Any) -> Answer:
    values: dict[str, Any] = {"has_begun": True, "is_group": False, "others": 3}
    return after_exit(tries, **{**values, **changes})


ONCE = Tries().after(1.0, was_ready=True)
TOO_OFTEN = Tries(MAX_TRIES + 1)


def test_a_rank_that_ends_before_all_are_ready_ends_the_launch() -> None:
    for is_group in (False, True):
        assert isinstance(answer(ONCE, has_begun=False, is_group=is_group), EndAll)


def test_an_independent_rank_is_begun_anew_alone_later_and_later() -> None:
    delays = []
    tries = Tries()
    for _ in range(MAX_TRIES):
        tries = tries.after(1.0, was_ready=True)
        found = answer(tries)
        assert isinstance(found, BeginAnew)
        delays.append(found.delay_s)
    assert delays == [1, 2, 4, 8, 16]


def test_an_independent_rank_that_never_lasts_is_given_up_and_the_last_one_ends_the_agent() -> None:
    assert answer(TOO_OFTEN) == GiveUp()
    assert isinstance(answer(TOO_OFTEN, others=0), EndAll)


def test_a_member_of_a_dp_group_is_never_begun_anew_alone() -> None:
    assert answer(ONCE, is_group=True) == BeginAllAnew(1.0)
    assert isinstance(answer(TOO_OFTEN, is_group=True), EndAll)


def test_a_rank_that_lasted_begins_with_a_clean_slate_unless_it_was_never_ready() -> None:
    assert Tries(4).after(LONG_LIFE_S, was_ready=True) == Tries(0)
    assert Tries(4).after(LONG_LIFE_S, was_ready=False) == Tries(5)
