"""Few ports of a node are looked at together, many in turn."""

from itertools import pairwise

import pytest

from agent.look_times import AT_ONCE, phase_of, until_look_s


def test_the_ports_of_most_nodes_are_looked_at_together() -> None:
    assert {phase_of(number) for number in range(AT_ONCE)} == {0.0}


def test_no_more_are_looked_at_together_and_the_others_are_spread_over_the_interval() -> None:
    phases = [phase_of(number) for number in range(72)]
    moments = sorted(set(phases))
    assert {phases.count(moment) for moment in moments} == {AT_ONCE}
    gaps = [later - earlier for earlier, later in pairwise([*moments, moments[0] + 1])]
    assert max(gaps) < 2 / len(moments)


@pytest.mark.parametrize("phase", [0.0, 0.25, 0.9])
def test_the_next_look_is_that_part_of_an_interval_after_one_of_its_multiples(phase: float) -> None:
    for now_s in (1000.0, 1000.1, 1000.49, 1234.567):
        wait_s = until_look_s(now_s, 0.5, phase)
        assert 0 < wait_s <= 0.5 + 1e-9
        beyond = ((now_s + wait_s) / 0.5 - phase) % 1.0
        assert min(beyond, 1 - beyond) < 1e-6
