"""What may be asked of `forebay simulate`."""

import pytest

from forebay.simulate.cases import Case
from forebay.simulate.fleet_options import FleetOptions
from forebay.simulate.settings import SimulateSettings, seeds_of
from simulator.cluster.peers.names import POLICY_NAMES
from simulator.cluster.settings import FleetSettings
from simulator.cluster.workloads import WORKLOADS
from simulator.settings import RankSettings
from simulator.timing import timing_of


def test_the_ranks_are_as_fast_as_those_of_forebay_rank() -> None:
    assert FleetOptions().timing == timing_of(RankSettings())
    assert FleetOptions().kv_capacity_tokens == RankSettings().kv_tokens


def test_a_fleet_is_built_as_the_options_say() -> None:
    case = Case(policy="random", gateways=3, load=0.5)
    assert FleetOptions().settings_of(case, 7) == FleetSettings(policy="random", gateways=3, seed=7)
    options = FleetOptions(prefill=2, dp_size=2, decode_step_ms=12, prefill_kv_capacity_tokens=2_000_000)
    found = options.settings_of(case, 7)
    assert (found.prefill, found.dp_size, found.prefill_kv_capacity_tokens) == (2, 2, 2_000_000)
    assert found.timing.decode_step_s == pytest.approx(0.012)


def test_the_ideal_cache_is_that_of_the_ranks_that_prefill() -> None:
    options = FleetOptions(prefill=3, decode=5, mixed=2, prefill_kv_capacity_tokens=512_000, kv_capacity_tokens=51_200)
    assert options.capacity.cache_blocks == 3 * 1000 + 2 * 100
    assert options.capacity.prefill_tokens_per_s == 5 * 8000


@pytest.mark.parametrize(
    ("text", "seeds"),
    [("1-8", tuple(range(1, 9))), ("3", (3,)), ("7, 1-2", (7, 1, 2)), ("0-0", (0,))],
)
def test_seeds_are_numbers_and_ranges(text: str, seeds: tuple[int, ...]) -> None:
    assert seeds_of(text) == seeds


@pytest.mark.parametrize("text", ["", "x", "-1", "1-", "8-1", "1,,2", "1-8,8", "0-99999", "1.5", "²"])
def test_what_is_no_seed_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="seeds: "):
        SimulateSettings(workload="poisson", seeds=text)


def test_a_sweep_has_every_combination() -> None:
    sweep = {"load": "0.5/0.9", "policy": "random / least_work"}
    settings = SimulateSettings(workload="poisson", fleet=FleetOptions(gateways=4), sweep=sweep)
    assert settings.cases == [
        Case(policy=policy, gateways=4, load=load) for policy in ("random", "least_work") for load in (0.5, 0.9)
    ]


@pytest.mark.parametrize(
    ("sweep", "reason"),
    [
        ({"prefill": "1/2"}, "'prefill' is none of policy, gateways, load, burst"),
        ({"load": "0.5/"}, "expected values of load"),
        ({"gateways": "1.5"}, "expected values of gateways"),
        ({"gateways": "0"}, "Expected `int` >= 1"),
        ({"load": "nan"}, "Expected `float` >= 0.001"),
        ({"load": "-1"}, "Expected `float` >= 0.001"),
        ({"burst": "0.5"}, "Expected `float` >= 1"),
        ({"policy": "least_work/magic"}, "none called 'magic'; known: forebay, "),
    ],
)
def test_a_sweep_of_anything_else_is_refused(sweep: dict[str, str], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        SimulateSettings(workload="poisson", sweep=sweep)


def test_clients_do_not_come_in_bursts() -> None:
    with pytest.raises(ValueError, match="burst: clients that wait"):
        SimulateSettings(workload="poisson", clients=4, sweep={"burst": "1/2"})


def test_every_workload_that_can_be_drawn_can_be_asked_for() -> None:
    for name in WORKLOADS:
        assert SimulateSettings(workload=name).workload_name == name  # type: ignore[arg-type]


def test_every_policy_can_be_asked_for() -> None:
    for name in POLICY_NAMES:
        assert SimulateSettings(workload="poisson", policy=name).cases[0].policy == name


def test_a_trace_is_named_without_its_folder_and_a_store_without_its_password() -> None:
    settings = SimulateSettings(trace="/some/where/trace.jsonl", store="redis://:hunter2@127.0.0.1:1")
    assert settings.workload_name == "trace.jsonl"
    assert settings.store_name == "redis://***@127.0.0.1:1"
