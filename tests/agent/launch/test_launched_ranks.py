"""A node's ranks as processes: begun, ended, and begun anew together and alone."""

from __future__ import annotations

import os
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
