"""A keeper, as a process: it ends when nothing of its rank is left, and sees to that."""

import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from agent.errors import LaunchError
from agent.launch.keeper import KILL, STOP
from agent.launch.kept_rank import KeptRank, start_rank
from agent.launch.rank_command import RankCommand
from tests.agent.launch.marked import MARK, end_marked, marked, new_mark
from tests.polling import PATIENCE_S, until

LONG_S = 600.0
TREE = f"""
echo "$$" > template.pid
{sys.executable} -c '
import subprocess, time
subprocess.Popen(["setsid", "sleep", "600"])
print("up", flush=True)
time.sleep(600)
'
"""
"""Bash, a child, and a grandchild in a session of its own."""
DEAF = "trap '' TERM; echo up; while true; do sleep 600; done"


class Rank:
    """A rank that was started, and what is left of it."""

    def __init__(self, kept: KeptRank, mark: str) -> None:
        self.kept, self.mark = kept, mark

    def processes(self) -> dict[int, str]:
        return {pid: said for pid, said in marked(self.mark).items() if pid != self.kept.pid}

    def log(self) -> str:
        return Path(self.kept.command.log_path).read_text()

    async def until_up(self, processes: int) -> None:
        await until(lambda: "up" in self.log() and len(self.processes()) >= processes, "the rank is up")

    async def close_lifeline(self) -> None:
        """What the kernel does when the agent is killed."""
        stdin = self.kept._process.stdin
        assert stdin is not None
        await stdin.aclose()

    async def is_over(self) -> bool:
        """Whether nothing was left when its keeper ended, long before what it keeps ends by itself."""
        with anyio.fail_after(PATIENCE_S):
            return await self.kept.gone() and not marked(self.mark)


@asynccontextmanager
async def rank(folder: Path, script: str, *, stop_timeout_s: float = LONG_S, **variables: str) -> AsyncIterator[Rank]:
    (folder / "run.sh").write_text(script)
    mark = new_mark()
    command = RankCommand(
        index=0,
        dp_rank=0,
        port=1,
        argv=("bash", "./run.sh"),
        folder=str(folder),
        environment={**os.environ, **variables, MARK: mark},
        log_path=str(folder / "rank.log"),
    )
    started = Rank(await start_rank(command, stop_timeout_s), mark)
    try:
        await started.kept.started()
        yield started
    finally:
        end_marked(mark)
        await started.kept.gone()
        await started.kept.close()


async def test_a_rank_that_is_told_to_stop_ends_with_all_that_it_started(tmp_path: Path) -> None:
    async with rank(tmp_path, TREE) as started:
        await started.until_up(3)
        await started.kept.tell(STOP)
        assert await started.is_over()
        assert await started.kept.ended() == -signal.SIGTERM


async def test_when_its_first_process_is_killed_the_others_are_ended(tmp_path: Path) -> None:
    async with rank(tmp_path, TREE) as started:
        await started.until_up(3)
        os.kill(int((tmp_path / "template.pid").read_text()), signal.SIGKILL)
        assert await started.kept.ended() == -signal.SIGKILL
        assert await started.is_over()


async def test_an_engine_that_outlives_its_api_server_is_ended(tmp_path: Path) -> None:
    script = "setsid sleep 600 & echo up; exit 3"
    async with rank(tmp_path, script) as started:
        assert await started.kept.ended() == 3
        assert await started.is_over()


async def test_what_ignores_sigterm_is_killed_when_its_time_is_over(tmp_path: Path) -> None:
    async with rank(tmp_path, DEAF, stop_timeout_s=0.1) as started:
        await started.until_up(2)
        await started.kept.tell(STOP)
        assert await started.is_over()
        assert await started.kept.ended() == -signal.SIGKILL


async def test_a_rank_that_is_to_be_killed_gets_no_time(tmp_path: Path) -> None:
    async with rank(tmp_path, DEAF) as started:
        await started.until_up(2)
        await started.kept.tell(STOP)
        await started.kept.tell(KILL)
        assert await started.is_over()


async def test_a_rank_whose_agent_has_ended_ends(tmp_path: Path) -> None:
    async with rank(tmp_path, TREE) as started:
        await started.until_up(3)
        await started.close_lifeline()
        assert await started.is_over()


async def test_a_keeper_that_is_told_to_end_ends_its_rank(tmp_path: Path) -> None:
    async with rank(tmp_path, TREE) as started:
        await started.until_up(3)
        os.kill(started.kept.pid, signal.SIGTERM)
        assert await started.is_over()


async def test_no_variable_of_the_rank_breaks_its_keeper(tmp_path: Path) -> None:
    async with rank(tmp_path, "exit 0", PYTHONHOME="/nowhere", PYTHONPATH="/nowhere") as started:
        assert await started.kept.ended() == 0


async def test_what_cannot_be_started_is_told_with_the_reason(tmp_path: Path) -> None:
    command = RankCommand(
        index=1,
        dp_rank=5,
        port=1,
        argv=("./no-such",),
        folder=str(tmp_path),
        environment={},
        log_path=f"{tmp_path}/log",
    )
    kept = await start_rank(command, LONG_S)
    with pytest.raises(LaunchError, match=r"rank 5: \./no-such cannot be started: .*No such file"):
        await kept.started()
    await kept.gone()
    await kept.close()


async def test_the_log_of_the_life_before_is_kept(tmp_path: Path) -> None:
    for word in ("first", "second", "third"):
        async with rank(tmp_path, f"echo {word}; exit 1") as started:
            await started.kept.ended()
    assert ((tmp_path / "rank.log").read_text(), (tmp_path / "rank.log.1").read_text()) == ("third\n", "second\n")
