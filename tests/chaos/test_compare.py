"""Routers are started, broken ranks put behind them, and their figures kept."""

import asyncio
import sys
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from tests.chaos.compare import RouterEndedError, main, running
from tests.chaos.routers import CONFIG, OURS, PORTS, ROUTERS, Recipe, recipe
from tests.chaos.settings import ChaosSettings, Stage
from tests.chaos.stage_run import run_stage
from tests.chaos.test_comparison import trial
from tests.chaos.test_figures import outcome
from tests.ports import HOST, free_ports, free_row
from tests.servers import BINARY, MISSING

RANKS = [f"{HOST}:22000", f"{HOST}:22001"]


@pytest.mark.parametrize("name", ROUTERS)
def test_a_router_listens_on_its_port_of_this_machine_and_knows_all_ranks(name: str) -> None:
    made = recipe(name, "/its/program", (15_001, 15_002, 15_003), RANKS)
    said = " ".join([*(word for command in made.commands for word in command), made.config])
    assert all(rank in said for rank in RANKS)
    assert made.commands[-1][0] == "/its/program"
    assert f"{HOST}:15001" in said or "--port 15001" in said
    assert (CONFIG in said) == bool(made.config)


@pytest.mark.parametrize("name", ROUTERS)
def test_what_a_page_says_was_turned_on_was(name: str) -> None:
    made = recipe(name, "/its/program", (15_001, 15_002, 15_003), RANKS)
    said = " ".join([*(word for command in made.commands for word in command), made.config])
    assert made.turned_on
    assert all(each.removeprefix("forebay agent ").removeprefix("forebay gateway ") in said for each in made.turned_on)


@pytest.mark.skipif(BINARY is None, reason=MISSING)
async def test_our_gateway_by_its_url_loses_nothing_while_ranks_fail(tmp_path: Path) -> None:
    ports = free_ports(PORTS)
    settings = ChaosSettings(
        seed=3,
        requests=40,
        rate=20.0,
        rounds=1,
        every_s=0.5,
        kinds=("rank-kill", "rank-5xx", "rank-reset"),
        ranks=4,
        against=f"http://{HOST}:{ports[0]}",
        ranks_port=free_row(4),
    )
    made = recipe(OURS, sys.executable, ports, [f"{HOST}:{settings.ranks_port + n}" for n in range(4)])
    said: list[str] = []
    async with running(made, tmp_path):
        report = await run_stage(tmp_path, Stage("mixed", "alone"), settings, settings.requests, 0, said.append)
    assert len(report.faults) == 3
    assert len(report.outcomes) >= 40
    assert report.broken() == [], "\n".join(said)


async def test_a_router_that_ends_while_it_is_needed_is_an_error(tmp_path: Path) -> None:
    made = Recipe(commands=((sys.executable, "-c", "pass"),), turned_on=(), lacks="")
    with pytest.raises(RouterEndedError, match=str(tmp_path)):
        async with running(made, tmp_path):
            await asyncio.Event().wait()


def test_a_router_whose_figures_are_kept_is_not_run_again(tmp_path: Path) -> None:
    for seed in (1, 2):
        kept = trial("nginx", *[outcome(judgment="lost", why="connection closed")] * seed, seed=seed)
        (tmp_path / f"nginx-{seed}.json").write_bytes(msgspec.json.encode(kept))
    words = ["--keep", str(tmp_path), "--router", "nginx", "--program", f"nginx={sys.executable}", "--seed", "1"]
    result = CliRunner().invoke(main, [*words, "--seed", "2", "--page", str(tmp_path / "page.md")])
    assert result.exit_code == 0, result.output
    for seed in (1, 2):
        assert f"| nginx 1.2 | {seed} | 1,100 | 160 | 7 | 2 | {seed} |" in (tmp_path / "page.md").read_text()


def test_figures_of_another_run_are_not_taken_for_this_one(tmp_path: Path) -> None:
    (tmp_path / "nginx-1.json").write_bytes(msgspec.json.encode(trial("nginx")))
    words = ["--keep", str(tmp_path), "--router", "nginx", "--program", f"nginx={sys.executable}", "--rounds", "9"]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 1
    assert "nginx-1.json is of another run" in result.output


def test_a_program_of_no_router_is_refused(tmp_path: Path) -> None:
    assert CliRunner().invoke(main, ["--keep", str(tmp_path), "--program", "nobody=true"]).exit_code == 2
