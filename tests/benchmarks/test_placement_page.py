"""The tables of docs/placement.md: what they say of results, and where another rule is called better."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmarks.placement import main
from benchmarks.placement_page import page_of
from benchmarks.placement_plot import charts_of
from benchmarks.placement_results import Result, Seed, Times, read_results, results_of, ttft_ratio, write_results
from benchmarks.placement_tables import AGAINST_PEERS, FLAT, OWN
from simulator.cluster.peers.names import POLICY_NAMES

PEERS_TABLE, FLAT_TABLE = AGAINST_PEERS[0], FLAT[0]


def result(
    policy: str, ttft_ms: tuple[float, ...], *, goodput: float = 0.9, gateways: int = 1, load: float = 0.9
) -> Result:
    mean_ms = sum(ttft_ms) / len(ttft_ms)
    seeds = tuple(Seed(at, ms, goodput + at / 1000, 5.0) for at, ms in enumerate(ttft_ms))
    ttft = Times(mean=mean_ms, p99=9.0, se=10.0)
    return Result(policy, gateways, load, "trace", 100, ttft, ttft, goodput, 0.3, 5.0, 0, seeds)


def rows(text: str) -> dict[str, list[str]]:
    """The cells of the table's rows, by the first."""
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]
    return {first: rest for first, *rest in reversed(cells)}


def test_the_page_is_what_is_printed_of_the_results(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(__file__).parents[2])
    printed = CliRunner().invoke(main, ["page"])
    assert printed.exit_code == 0
    assert printed.stdout == Path("docs/placement_tables.md").read_text("utf-8")


def test_each_rule_is_shown_beside_forebays_in_the_same_case() -> None:
    text = page_of(PEERS_TABLE, [result(OWN, (1000, 1020)), result("round_robin", (3000, 3060))])
    assert rows(text)["round_robin"] == ["3.03 (3.00)"]
    assert rows(text)[OWN] == ["1.01 ± 0.01"]
    assert "No rule of the others is better" in text


def test_a_rule_that_is_faster_with_every_seed_is_named() -> None:
    text = page_of(PEERS_TABLE, [result(OWN, (1000, 1020)), result("quick", (900, 921))])
    assert "Lower mean TTFT beyond two standard errors: quick (G = 1, 0.9)." in text
    assert rows(text)["quick"] == ["**0.91 (0.90)**"]


def test_a_rule_that_is_faster_with_some_seeds_only_is_not() -> None:
    text = page_of(PEERS_TABLE, [result(OWN, (1000, 1000)), result("luck", (700, 1200))])
    assert "No rule of the others is better" in text


def test_a_rule_with_more_goodput_is_named() -> None:
    text = page_of(PEERS_TABLE, [result(OWN, (1000, 1000)), result("good", (2000, 2000), goodput=0.95)])
    assert "More goodput beyond two standard errors: good (G = 1, 0.9)." in text


def test_a_better_rule_of_ours_is_in_bold_and_marked_and_not_one_of_the_others() -> None:
    text = page_of(PEERS_TABLE, [result("forebay_pairs", (900, 921)), result(OWN, (1000, 1020))])
    assert rows(text)["forebay_pairs (ours)"] == ["**0.91 (0.90)**"]
    assert "No rule of the others is better" in text
    assert "Lower mean TTFT beyond two standard errors, by a rule of ours: forebay_pairs (G = 1, 0.9)." in text


def test_every_rule_of_the_tables_against_peers_can_be_simulated() -> None:
    assert {rule for table in (*AGAINST_PEERS, *FLAT) for rule in table.rules} <= set(POLICY_NAMES)


def test_gateways_are_compared_with_one_gateway_seed_by_seed() -> None:
    cases = [result(OWN, (1000, 2000)), result(OWN, (1100, 2200), gateways=16)]
    assert rows(page_of(FLAT_TABLE, cases))[OWN] == ["0.9", "1.50", "1.100 ± 0.000"]


def test_the_error_of_a_ratio_is_between_the_seeds() -> None:
    ratio = ttft_ratio(result("one", (1000, 1400)), result("other", (1000, 1000)))
    assert ratio.mean == pytest.approx(1.2)
    assert ratio.se == pytest.approx(0.2)


def test_what_was_written_is_read_again(tmp_path: Path) -> None:
    kept = [result(OWN, (1000, 1020)), result("other", (1, 2), gateways=16)]
    write_results(tmp_path / "x.jsonl", kept)
    assert read_results(tmp_path / "x.jsonl") == kept
    assert [each.name for each in tmp_path.iterdir()] == ["x.jsonl"]
    assert results_of((tmp_path / "x.jsonl").read_bytes()) == kept


def test_every_table_has_a_command_that_names_its_rule_and_its_cases() -> None:
    for table in (*AGAINST_PEERS, *FLAT):
        options = table.options_of("dynamo", "/traces", "1-8")
        assert options[options.index("--policy") + 1] == "dynamo"
        assert re.fullmatch(r"gateways=[\d/]+,load=[\d./]+", options[options.index("--sweep") + 1])


def test_a_plot_of_loads_shows_the_most_gateways_and_one_of_gateways_their_ratio() -> None:
    cases = [result(OWN, (1000, 2000), gateways=gateways, load=load) for gateways in (1, 16) for load in (0.5, 0.9)]
    goodput, ttft = charts_of(PEERS_TABLE, cases)
    assert [point.x for point in goodput.lines[0].points] == [0.5, 0.9]
    assert ttft.lines[0].points[0].y == 1.5
    flat = charts_of(FLAT_TABLE, cases)
    assert [[point.y for point in chart.lines[0].points] for chart in flat] == [[1.0, 1.0], [1.0, 1.0]]
