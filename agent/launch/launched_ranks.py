"""The ranks of one node as processes: started from a template, watched, ended whole. A RankSet."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack

import anyio

from agent.errors import LaunchError
from agent.launch.keeper import KILL, STOP
from agent.launch.kept_rank import KeptRank, start_rank
from agent.launch.node_look import refuse_taken_ports
from agent.launch.processes import adopt_orphans, descendants, reap, tell
from agent.launch.rank_command import RankCommand
from agent.rank_set import RankExit

_LOOK_AGAIN_S = 0.02


class LaunchedRanks:
    """Starts, watches and ends the ranks of `commands`. One task at a time may start and stop; `kill` may interfere."""

    def __init__(self, commands: Sequence[RankCommand], stop_timeout_s: float) -> None:
        self._commands = commands
        self._stop_timeout_s = stop_timeout_s
        self._kept: dict[int, KeptRank] = {}
        self._told: set[int] = set()
        self._others: frozenset[int] | None = None

    async def start(self) -> None:
        """Start all ranks; returns when their processes run. Raises LaunchError; then none is left."""
        await self._start(self._commands)

    async def start_one(self, index: int) -> None:
        """Start a rank that has ended, alone. Raises LaunchError."""
        await self._start([self._commands[index]])

    async def stop(self) -> None:
        """End all ranks with all that they started; returns when no process of any is left. Idempotent."""
        await self._end(list(self._kept), STOP)

    async def stop_one(self, index: int) -> None:
        """The same for one rank."""
        await self._end([index], STOP)

    async def kill(self) -> None:
        """End all processes of all ranks at once, also where `stop` waits for them."""
        for kept in list(self._kept.values()):
            await kept.tell(KILL)

    async def next_exit(self) -> RankExit:
        """Wait for the first end that nobody asked for. A cancelled wait loses none."""
        exits: list[RankExit] = []
        async with anyio.create_task_group() as tasks:

            async def watch(index: int, kept: KeptRank) -> None:
                returncode = await kept.ended()
                if index in self._told:  # asked for meanwhile
                    return
                exits.append(_exit_of(kept.command, returncode))
                tasks.cancel_scope.cancel()

            for index, kept in self._kept.items():
                if index not in self._told:
                    tasks.start_soon(watch, index, kept, name=f"watch rank {index}")
            await anyio.sleep_forever()
        self._told.add(exits[0].index)
        return exits[0]

    async def _start(self, commands: Sequence[RankCommand]) -> None:
        if self._others is None:
            self._see_to_orphans()
        refuse_taken_ports(command.port for command in commands)
        async with AsyncExitStack() as unless_all_run:
            unless_all_run.push_async_callback(self._end_begun, commands)
            for command in commands:
                self._told.discard(command.index)
                self._kept[command.index] = await start_rank(command, self._stop_timeout_s)
            for command in commands:
                await self._kept[command.index].started()
            unless_all_run.pop_all()

    async def _end_begun(self, commands: Sequence[RankCommand]) -> None:
        """Of a start that has failed or was cancelled; a keeper that was being made may have begun its rank."""
        with anyio.CancelScope(shield=True):
            await self._end([command.index for command in commands], KILL)
            await self._end_orphans()

    def _see_to_orphans(self) -> None:
        """What a keeper leaves, who was killed himself, comes to this process; its own children are none of these."""
        if not sys.platform.startswith("linux"):
            raise LaunchError("--launch needs Linux: it is the kernel that keeps a rank's processes together")
        adopt_orphans()
        self._others = frozenset(descendants(os.getpid()))

    async def _end(self, indices: Sequence[int], word: bytes) -> None:
        ending = [self._kept[index] for index in indices if index in self._kept]
        self._told.update(indices)
        for kept in ending:
            await kept.tell(word)
        left_nothing = True
        for kept in ending:
            left_nothing &= await kept.gone()
        if not left_nothing:
            await self._end_orphans()
        for kept in ending:
            await kept.close()
            self._kept.pop(kept.command.index, None)

    async def _end_orphans(self) -> None:
        """Kill what was adopted from keepers that were killed: all below this process but what other keepers have."""
        keepers = [kept.pid for kept in self._kept.values()]
        while orphans := descendants(os.getpid(), besides=[*keepers, *(self._others or ())]):
            tell(orphans, signal.SIGKILL)
            reap(orphans)
            await anyio.sleep(_LOOK_AGAIN_S)


def _exit_of(command: RankCommand, returncode: int) -> RankExit:
    return RankExit(index=command.index, dp_rank=command.dp_rank, returncode=returncode, log_path=command.log_path)
