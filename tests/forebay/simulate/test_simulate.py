"""Cases are run for each seed, with the same requests for all policies."""

from collections.abc import Sequence
from io import StringIO
from pathlib import Path

import msgspec
import pytest
from rich.console import Console

from forebay.simulate.cases import Case
from forebay.simulate.fleet_options import FleetOptions
from forebay.simulate.settings import SimulateSettings
from forebay.simulate.simulate import requests_of, simulate
from forebay.simulate.tables import table
from simulator.cluster.load import load_of
from simulator.cluster.outcome import Outcome
from simulator.cluster.request import SimRequest
from simulator.cluster.workloads.errors import TraceError

FLEET = FleetOptions(prefill=2, decode=1)
SETTINGS = SimulateSettings(workload="hot", requests=200, seeds="1-3", fleet=FLEET)
CASE = Case(policy="least_work", gateways=1, load=0.9)


def made_up(requests: Sequence[SimRequest], case: Case, seed: int) -> list[Outcome]:
    """A fleet of which only the numbers of seed and gateways can be seen."""
    return [
        Outcome(
            request=request,
            gateway=request.number % case.gateways,
            prefill_rank=f"p{request.number % 2}",
            decode_rank="d0",
            placed_s=request.arrival_s,
            first_token_s=request.arrival_s + seed,
            finished_s=request.arrival_s + seed + 0.01 * (request.output_tokens - 1),
            cached_tokens=0,
        )
        for request in requests
    ]


def test_each_case_has_a_run_for_each_seed() -> None:
    settings = msgspec.structs.replace(SETTINGS, sweep={"gateways": "1/4", "policy": "random/least_work"})
    reports = list(simulate(settings, made_up))
    assert [(report.case.policy, report.case.gateways) for report in reports] == [
        ("random", 1), ("random", 4), ("least_work", 1), ("least_work", 4)
    ]  # fmt: skip
    for report in reports:
        assert [run.seed for run in report.figures.seeds] == [1, 2, 3]
        assert report.figures.ttft_ms
        assert report.figures.ttft_ms.mean == pytest.approx(2000)
        assert len(report.figures.placements_by_gateway) == report.case.gateways


def test_each_run_that_has_ended_is_told() -> None:
    told = []
    settings = msgspec.structs.replace(SETTINGS, sweep={"gateways": "1/4"})
    reports = simulate(settings, made_up, ended=lambda: told.append(1))
    next(reports)
    assert len(told) == 3
    next(reports)
    assert len(told) == 6


def test_requests_depend_on_the_seed_and_on_nothing_else_that_is_compared() -> None:
    requests = requests_of(SETTINGS, CASE, 1)
    assert requests == requests_of(SETTINGS, msgspec.structs.replace(CASE, policy="random", gateways=64), 1)
    assert requests != requests_of(SETTINGS, CASE, 2)


def test_requests_come_at_the_load_asked_for() -> None:
    for load in (0.5, 1.1):
        requests = requests_of(SETTINGS, msgspec.structs.replace(CASE, load=load), 1)
        assert load_of(requests, FLEET.capacity) == pytest.approx(load)


def test_requests_left_out_at_the_beginning_do_not_make_a_run_shorter() -> None:
    requests = requests_of(msgspec.structs.replace(SETTINGS, skip=50), CASE, 1)
    assert len(requests) == 200
    assert requests[0].arrival_s == 0


def test_the_json_has_what_the_contract_names_side_by_side() -> None:
    (report,) = simulate(SETTINGS, made_up)
    line = report.as_json()
    assert b"\n" not in line
    found = msgspec.json.decode(line)
    latencies = ("ttft_ms", "tpot_ms", "e2e_ms")
    for name in latencies:
        assert set(found[name]) == {"mean", "p50", "p90", "p99", "se"}
    assert set(found) >= {
        *latencies, "throughput_rps", "goodput", "hit_rate", "believed_hit_rate", "imbalance", "rejected",
        "placements_by_gateway", "placements_by_rank", "policy", "gateways", "store", "load", "workload",
    }  # fmt: skip
    assert (found["policy"], found["gateways"], found["store"], found["load"]) == ("forebay", 1, "memory", 0.9)


def test_the_table_has_a_row_for_each_case() -> None:
    settings = msgspec.structs.replace(SETTINGS, sweep={"load": "0.5/0.9"})
    console = Console(width=200, record=True, file=StringIO())
    console.print(table(list(simulate(settings, made_up))))
    text = console.export_text()
    assert "hot: 200 requests, 2 prefill + 1 decode + 0 mixed ranks, seeds 1, 2, 3" in text
    assert text.count("forebay") == 2
    assert "2,000 ± 577" in text


def rejecting(requests: Sequence[SimRequest], case: Case, seed: int) -> list[Outcome]:
    """A fleet of no use."""
    return [msgspec.structs.replace(each, rejected=True) for each in made_up(requests, case, seed)]


def test_of_requests_that_were_all_rejected_no_time_is_told() -> None:
    (report,) = simulate(SETTINGS, rejecting)
    found = msgspec.json.decode(report.as_json())
    assert [found[name] for name in ("ttft_ms", "tpot_ms", "e2e_ms", "hit_rate", "imbalance")] == [None] * 5
    console = Console(width=200, record=True, file=StringIO())
    console.print(table([report]))
    (row,) = [line for line in console.export_text().splitlines() if "forebay" in line]
    assert [cell.strip() for cell in row.strip("│").split("│")] == [
        *("forebay", "1", "0.9"), *["-"] * 7, *("0.00", "0.000 ± 0.000", "-", "-", "600")
    ]  # fmt: skip


def test_a_trace_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    trace = tmp_path / "trace.csv"
    trace.write_text("TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:17:03.97,1,\n")
    settings = SimulateSettings(trace=str(trace), fleet=FLEET)
    with pytest.raises(TraceError, match="line 2"):
        list(simulate(settings, made_up))
