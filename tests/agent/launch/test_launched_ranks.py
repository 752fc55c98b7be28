"""A node's ranks as processes: begun, ended, and begun anew together and alone."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import anyio.lowlevel

from agent.launch.launched_ranks import LaunchedRanks
from agent.launch.rank_command import RankCommand
from tests.agent.launch.marked import MARK, end_marked, marked, new_mark
from tests.polling import PATIENCE_S, until
from tests.ports import free_row

DEAF = "trap '' TERM; echo up; while true; do sleep 600; done"
KEEPER_STARTS_S = 0.15


class Node:
    """Ranks, and what runs of them."""

    def __init__(self, folder: Path, script: str, count: int) -> None:
        (folder / "run.sh").write_text(script)
        self.mark, first = new_mark(), free_row(count)
        commands = [
            RankCommand(
                index=index,
                dp_rank=index,
                port=first + index,
                argv=("bash", "./run.sh"),
                folder=str(folder),
                environment={**os.environ, MARK: self.mark},
                log_path=str(folder / f"rank-{index}.log"),
            )
            for index in range(count)
        ]
        self.logs = [Path(command.log_path) for command in commands]
        self.ranks = LaunchedRanks(commands, 600.0)

    async def until_up(self) -> None:
        await until(lambda: all("up" in log.read_text() for log in self.logs), "all are up")


@asynccontextmanager
async def node_of(folder: Path, script: str, count: int) -> AsyncIterator[Node]:
    node = Node(folder, script, count)
    await node.ranks.start()
    try:
        yield node
    finally:
        with anyio.CancelScope(shield=True):
            end_marked(node.mark)
            await node.ranks.stop()


async def test_ranks_are_killed_at_any_moment_of_their_stop(tmp_path: Path) -> None:
    async with node_of(tmp_path, DEAF, 8) as node, anyio.create_task_group() as tasks:
        await node.until_up()

        async def kill_again_and_again() -> None:
            while True:
                await node.ranks.kill()
                await anyio.lowlevel.checkpoint()

        tasks.start_soon(kill_again_and_again)
        with anyio.fail_after(PATIENCE_S):
            await node.ranks.stop()
        tasks.cancel_scope.cancel()
    assert marked(node.mark) == {}


async def test_a_start_that_is_cancelled_at_any_moment_leaves_nothing(tmp_path: Path) -> None:
    for turns in range(0, 24, 3):
        node = Node(tmp_path, "setsid sleep 600 & sleep 600", 2)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(node.ranks.start, name="start")
            for _ in range(turns):
                await anyio.lowlevel.checkpoint()
            time.sleep(KEEPER_STARTS_S)  # noqa: ASYNC251  # a busy machine: this process stands still, and keepers get on
            tasks.cancel_scope.cancel()
        left = marked(node.mark)
        for pid in left:
            os.kill(pid, signal.SIGKILL)
        assert left == {}, f"cancelled after {turns} turns of the loop"
