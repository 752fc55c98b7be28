"""Whom a client may blame for an answer it did not get: only a gateway that was dead, ending or not ready."""

from pathlib import Path

import pytest

from tests.chaos.fleet import LAME_DUCK_S, Fleet
from tests.chaos.processes import Life
from tests.chaos.settings import ChaosSettings, Stage

KILLED_S, AGAIN_S, TOLD_S = 10.0, 13.0, 20.0


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    """Never started; its first gateway was killed once, and later told to end."""
    made = Fleet(tmp_path, Stage("mixed", "alone"), ChaosSettings())
    made.gateways[0].lives = [Life(0.0, KILLED_S), Life(AGAIN_S, TOLD_S, in_order=True)]
    return made


@pytest.mark.parametrize(("sent_s", "ended_s"), [(9.0, KILLED_S), (10.5, 10.5), (12.9, 12.95), (12.0, 14.0)])
def test_a_gateway_that_was_killed_is_excused_until_it_is_ready_again(
    fleet: Fleet, sent_s: float, ended_s: float
) -> None:
    assert fleet.is_excused(0, sent_s, ended_s, 0)
    assert fleet.is_excused(0, sent_s, ended_s, 200)


@pytest.mark.parametrize(("sent_s", "ended_s"), [(1.0, 9.9), (13.1, 19.9)])
def test_one_that_lives_is_not(fleet: Fleet, sent_s: float, ended_s: float) -> None:
    assert not fleet.is_excused(0, sent_s, ended_s, 0)


def test_one_that_ends_in_order_must_answer_what_it_has_taken(fleet: Fleet) -> None:
    late_s = TOLD_S + LAME_DUCK_S
    assert not fleet.is_excused(0, TOLD_S - 1, late_s + 5, 200)
    assert not fleet.is_excused(0, TOLD_S + 0.1, TOLD_S + 0.2, 0)
    assert fleet.is_excused(0, late_s - 0.1, late_s, 0)
    assert fleet.is_excused(0, late_s + 0.1, late_s + 0.1, 0)


def test_pairs_have_as_many_prefill_as_decode_ranks(tmp_path: Path) -> None:
    made = Fleet(tmp_path, Stage("pairs", "alone"), ChaosSettings())
    assert [made.role(rank) for rank in range(8)] == ["prefill"] * 4 + ["decode"] * 4
    assert len(made.processes) == 1 + 8 + 4 + 3


def test_before_another_router_there_are_ranks_only_where_they_were_wanted(tmp_path: Path) -> None:
    made = Fleet(tmp_path, Stage("mixed", "alone"), ChaosSettings(against="http://127.0.0.1:1", ranks_port=30_000))
    assert [each.port for each in made.links] == list(range(30_000, 30_008))
    assert {process.name for process in made.processes} == {f"rank-{number}" for number in range(8)}
