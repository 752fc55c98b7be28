"""Real processes: an agent, a rank that pushes, a store, and what operators are shown."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from forebay.main import main
from tests.agent.running_node import request_in_flight
from tests.agent.test_agent_process import running_agent
from tests.agent.test_agent_process import url as url  # noqa: PLC0414  (a fixture)
from tests.agent.test_node_pushes import PLUGIN
from tests.polling import until
from tests.simulator.rank_process import RankProcess, running_rank


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The socket of agents and ranks that are told none."""
    path = tmp_path / "stats.sock"
    monkeypatch.setenv("FOREBAY_STAT_SOCKET", str(path))
    monkeypatch.setenv("PYTHONPATH", str(PLUGIN), prepend=":")
    return path


@pytest.fixture
def rank(path: Path) -> Iterator[RankProcess]:
    del path  # it is in the environment
    with running_rank("--model", "tiny") as rank:
        yield rank


def status(url: str, *options: str) -> str:
    result = CliRunner().invoke(main, ["status", "--redis", url, *options])
    assert result.exit_code == 0, result.output
    return result.stdout


async def until_shown(url: str, source: str) -> None:
    """Waits until `forebay status --json` names this source of the only rank."""

    async def holds() -> bool:
        ranks = json.loads(await asyncio.to_thread(status, url, "--json"))["ranks"]
        return [rank["source"] for rank in ranks] == [source]

    await until(holds, f"the source is {source}", pause_s=0.05)


async def test_the_status_shows_where_the_load_comes_from_over_agents_that_are_killed(
    url: str, rank: RankProcess
) -> None:
    with request_in_flight(rank):
        with running_agent(url, rank.port) as agent:
            await until_shown(url, "push")
            assert agent.end(signal.SIGKILL) == -signal.SIGKILL
        with running_agent(url, rank.port) as agent:
            await agent.until_ready()
            await until_shown(url, "push")
            table = await asyncio.to_thread(status, url)
    assert f"127.0.0.1:{rank.port}  mixed  up" in table
    assert "  push  " in table


async def test_an_agent_whose_socket_another_has_says_so_and_ends(url: str, rank: RankProcess, path: Path) -> None:
    with running_agent(url, rank.port) as first:
        await until(path.is_socket, "the first agent listens")
        with running_agent(url, rank.port, node="node-b") as second:
            assert second.process.wait(30) == 1
            await until(lambda: "another agent listens there" in second.log, "it says why")
        assert second.log.strip().splitlines()[-1] == f"Error: stat socket {path}: another agent listens there"
        assert first.process.poll() is None


def test_a_rank_that_is_to_push_without_the_stat_logger_says_what_to_install(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    del path  # it is in the environment
    missing = tmp_path / "forebay_stat_logger"
    missing.mkdir()
    (missing / "__init__.py").write_text(f"raise ModuleNotFoundError(name={missing.name!r})")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")
    command = [sys.executable, "-m", "forebay", "rank", "--port", "0"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == "Error: --stat-socket needs forebay_stat_logger: pip install ./vllm_plugin\n"
