"""Keeps a node's launched ranks where their DP group spans nodes: all nodes start and stop theirs together."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence

import anyio

from agent.claims import Claims, StoreAnswer
from agent.group_restart import GroupRestart, Member
from agent.launch.plan import LaunchPlan
from agent.launch.readiness import LaunchedPort, claimed_by_others
from agent.rank_set import RankExit, RankSet

_LOOK_S = 0.1


class GroupUpkeep:
    """Stands where Upkeep does for ranks that one node can see to alone. `look` and `answer` as there."""

    def __init__(
        self,
        plan: LaunchPlan,
        ranks: RankSet[RankExit],
        look: Callable[[], Sequence[LaunchedPort]],
        answer: Callable[[], StoreAnswer],
        member: Member,
        node: str,
    ) -> None:
        self._plan, self._ranks, self._look = plan, ranks, look
        self._answer, self._claims = answer, Claims()
        self._earlier = [frozenset[str]()] * len(plan.commands)
        self._begun_s = 0.0
        self._group = GroupRestart(node, member, self, is_ready=self.is_ready, coordinated=self._coordinated)

    async def run(self) -> None:
        """Follow the group until cancelled. Raises, in an exception group, LaunchError and StoreRejectedError."""
        await self._group.run()

    async def drain(self, until_empty: Callable[[], Awaitable[None]]) -> None:
        """Let what runs go on until `until_empty` returns, or the generation ends; the group is told meanwhile."""
        await self._group.drain(until_empty)

    async def leave(self) -> None:
        """Stop the ranks and leave the group."""
        await self._group.leave()

    async def start(self) -> None:
        """Start all ranks. Raises LaunchError."""
        self._earlier = [seen | port.lives for seen, port in zip(self._earlier, self._look(), strict=True)]
        self._begun_s = time.monotonic()
        await self._ranks.start()

    async def stop(self) -> None:
        """End all ranks."""
        await self._ranks.stop()

    async def next_exit(self) -> str:
        """What to say of the first rank that has ended by itself, or of those that were not ready in time.

        Raises, in an exception group, LaunchError where another agent has ranks of ours.
        """
        said = ""
        async with anyio.create_task_group() as tasks:

            async def see_them_ready() -> None:
                nonlocal said
                if said := await self._late():
                    tasks.cancel_scope.cancel()

            tasks.start_soon(see_them_ready, name="readiness of launched ranks")
            found = await self._ranks.next_exit()
            said = f"rank {found.dp_rank} {found.how}; its log is {found.log_path}"
            tasks.cancel_scope.cancel()
        return said

    def is_ready(self) -> bool:
        """Whether all ranks are offered, in lives of this start. Raises LaunchError as `next_exit`."""
        answer = self._answer()
        claimed = claimed_by_others(self._look(), answer.refused)
        return self._claims.none_are_made(claimed, answer.at_s) and not self._missing()

    async def _late(self) -> str:
        """What to say of ranks that are not ready in time; "" once all were."""
        timeout_s = self._plan.settings.ready_timeout_s
        while not self.is_ready():
            if time.monotonic() - self._begun_s > timeout_s and (missing := self._missing()):
                late = f"ranks {', '.join(map(str, missing))} are" if len(missing) > 1 else f"rank {missing[0]} is"
                return f"{late} not ready after {timeout_s:g} s; logs in {self._plan.log_dir}"
            await anyio.sleep(_LOOK_S)
        return ""

    def _missing(self) -> list[int]:
        ports = zip(self._look(), self._earlier, self._plan.commands, strict=True)
        return [command.dp_rank for port, earlier, command in ports if not port.is_ready(earlier)]

    async def _coordinated(self) -> None:
        """Where rank 0 is on this node, its coordinator takes connections: ranks that came before would give up."""
        settings = self._plan.settings
        while settings.dp_rank_start == 0:
            try:
                stream = await anyio.connect_tcp(settings.dp_address, settings.dp_rpc_port)
            except OSError:
                await anyio.sleep(_LOOK_S)
                continue
            await stream.aclose()
            return
