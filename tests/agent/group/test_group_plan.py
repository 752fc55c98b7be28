"""What a node does next, by where it is and what it has heard of its DP group."""

from __future__ import annotations

import pytest

from agent.group_plan import Action, Confirm, End, Here, next_action
from scheduler.group_generation import NONE, Cause, Generation, Step
from tests.agent.group.test_word_by_word import FIRST, NAME, SECOND, confirmed, group

OVER = (Step.STOPPED, Step.LEFT)


def joins(here: Here, step: Step) -> Action:
    """What it does about the second generation, of which the other node is at this step."""
    return next_action(here, group(SECOND, confirmed("node-a", 0, step), pool_ms=40))


@pytest.mark.parametrize("at", [NONE, FIRST])
@pytest.mark.parametrize("step", [step for step in Step if step not in OVER])
def test_a_generation_that_another_node_may_run_is_not_joined_but_ended(at: Generation, step: Step) -> None:
    action = joins(Here(NAME, at, came_ms=10), step)
    assert isinstance(action, End)
    assert (action.of, action.wish.cause) == (SECOND, Cause.JOINED)


@pytest.mark.parametrize("at", [NONE, FIRST])
@pytest.mark.parametrize("step", OVER)
def test_a_generation_that_nobody_runs_is_joined(at: Generation, step: Step) -> None:
    assert joins(Here(NAME, at, came_ms=10), step) == Confirm(SECOND)
