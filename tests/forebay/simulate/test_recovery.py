"""What a burst leaves behind is told beside the same run without it."""

from collections.abc import Sequence

import msgspec
import pytest

from forebay.simulate.cases import Case
from forebay.simulate.recovery import recoveries
from forebay.simulate.settings import SimulateSettings
from forebay.simulate.simulate import simulate
from simulator.cluster.outcome import Outcome
from simulator.cluster.request import SimRequest
from tests.forebay.simulate.test_simulate import FLEET, made_up, rejecting

SETTINGS = SimulateSettings(workload="poisson", requests=100, seeds="1-2", fleet=FLEET)


def slower_after_a_burst(requests: Sequence[SimRequest], case: Case, seed: int) -> list[Outcome]:
    """Twice as slow as without on seed 1, four times on seed 2."""
    sooner_s = (1 if seed == 1 else 6) * (case.burst > 1)
    return [
        msgspec.structs.replace(
            outcome,
            request=msgspec.structs.replace(outcome.request, arrival_s=outcome.request.arrival_s - sooner_s),
        )
        for outcome in made_up(requests, case, seed)
    ]


def test_the_ratio_is_of_runs_of_the_same_seed() -> None:
    settings = msgspec.structs.replace(SETTINGS, sweep={"burst": "1/2", "policy": "random/forebay"})
    found = recoveries(list(simulate(settings, slower_after_a_burst)))
    assert [each.case for each in found] == [
        Case(policy=policy, gateways=1, load=0.9, burst=2) for policy in ("random", "forebay")
    ]
    for each in found:
        assert [each.ratio, each.ratio_se] == pytest.approx([3, 1])
        assert [each.with_ms, each.without_ms] == pytest.approx([5000, 1500])
    assert "1,500 ms: 3.000 ± 1.000" in str(found[0])


@pytest.mark.parametrize("rejected", [1.0, 2.0])
def test_of_bursts_in_which_nothing_is_served_no_ratio_is_told(rejected: float) -> None:
    def run(requests: Sequence[SimRequest], case: Case, seed: int) -> list[Outcome]:
        return (rejecting if case.burst == rejected else made_up)(requests, case, seed)

    settings = msgspec.structs.replace(SETTINGS, sweep={"burst": "1/2"})
    assert recoveries(list(simulate(settings, run))) == []


@pytest.mark.parametrize("sweep", [{}, {"burst": "2"}, {"burst": "2/3"}, {"load": "0.5/0.9"}])
def test_without_both_there_is_nothing_to_compare(sweep: dict[str, str]) -> None:
    settings = msgspec.structs.replace(SETTINGS, sweep=sweep)
    assert recoveries(list(simulate(settings, made_up))) == []
