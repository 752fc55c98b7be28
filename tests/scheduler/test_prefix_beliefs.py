"""What a gateway believed of the prompts that ranks have computed."""

from __future__ import annotations

from scheduler.prefix_beliefs import Belief, Beliefs


def test_what_was_believed_counts_once_the_prompt_is_computed() -> None:
    beliefs = Beliefs()
    for number, belief in enumerate([Belief("a", 10, 0), Belief("a", 5, 0), Belief("a", 7, 4), Belief("b", 3, 1)]):
        beliefs.placed(number, belief)
        assert beliefs.take() == {}
        if number == 0:
            beliefs.computed(number)
            assert beliefs.take() == {"a": (10, 0, 0, 0, 0)}
    for number in (1, 2, 3):
        beliefs.computed(number)
    assert beliefs.take() == {"a": (5, 0, 0, 0, 7), "b": (0, 3, 0, 0, 0)}
    assert beliefs.believed_tokens == 25


def test_it_counts_once_however_often_that_is_said() -> None:
    beliefs = Beliefs()
    beliefs.placed(1, Belief("a", 10, 0))
    for _ in range(2):
        beliefs.computed(1)
    beliefs.released(1)
    beliefs.computed(2)
    assert beliefs.take() == {"a": (10, 0, 0, 0, 0)}
    assert beliefs.take() == {}


def test_a_client_that_leaves_before_had_nothing_found() -> None:
    beliefs = Beliefs()
    beliefs.placed(1, Belief("a", 10, 0))
    beliefs.released(1)
    beliefs.computed(1)
    assert beliefs.take() == {}
    assert beliefs.believed_tokens == 0
