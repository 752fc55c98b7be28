"""Starts a node's ranks, sees that they get ready, and does what after_exit.py says when one ends."""

from __future__ import annotations

import logging
import math
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, assert_never

import anyio

from agent.claims import Claims, StoreAnswer
from agent.errors import LaunchError
from agent.launch.after_exit import BeginAllAnew, BeginAnew, EndAll, GiveUp, Tries, after_exit
from agent.launch.plan import LaunchPlan
from agent.launch.rank_log import last_lines
from agent.launch.readiness import LaunchedPort, claimed_by_others
from agent.rank_set import RankExit, RankSet

log = logging.getLogger(__name__)
_LOOK_S = 0.1


class SingleRanks(RankSet[RankExit], Protocol):
    """A set whose ranks can be begun anew alone."""

    async def start_one(self, index: int) -> None:
        """Start a rank that has ended. Raises LaunchError."""
        ...

    async def stop_one(self, index: int) -> None:
        """End what is left of a rank."""
        ...


class Upkeep:
    """Keeps one node's ranks. `look` gives their ports, `answer` the store's last one."""

    def __init__(
        self,
        plan: LaunchPlan,
        ranks: SingleRanks,
        look: Callable[[], Sequence[LaunchedPort]],
        answer: Callable[[], StoreAnswer],
    ) -> None:
        self._plan, self._ranks, self._look = plan, ranks, look
        self._answer, self._claims = answer, Claims()
        count = len(plan.commands)
        self._begun_s = [0.0] * count
        self._earlier = [frozenset[str]()] * count
        self._not_ready = set(range(count))
        self._has_begun = False
        self._tries = [Tries()] * count
        self._due_s: dict[int, float] = {}
        self._given_up: set[int] = set()
        self._exits: deque[RankExit] = deque()

    async def run(self) -> None:
        """Start the ranks and keep them until cancelled. Raises LaunchError; what runs then is the caller's to stop."""
        await self._begin_all()
        while True:
            with anyio.CancelScope(deadline=self._next_due()):
                await self._hear_of_exit()
            while self._exits:
                found = self._exits.popleft()
                port = self._plan.commands[found.index].port
                await self._follow(found.index, f"rank {found.dp_rank} (port {port}) {found.how}")
            await self._begin_due()

    async def drain(self, until_empty: Callable[[], Awaitable[None]]) -> None:
        """Let what runs go on until `until_empty` returns."""
        await until_empty()

    async def leave(self) -> None:
        """Stop the ranks."""
        await self._ranks.stop()

    def _next_due(self) -> float:
        left_s = min(self._due_s.values(), default=math.inf) - time.monotonic()
        return anyio.current_time() + left_s

    async def _hear_of_exit(self) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._see_them_ready, name="readiness of launched ranks")
            self._exits.append(await self._ranks.next_exit())
            tasks.cancel_scope.cancel()

    async def _begin_all(self) -> None:
        self._expect(range(len(self._begun_s)))
        await self._ranks.start()

    async def _begin_due(self) -> None:
        now_s = time.monotonic()
        for index in [index for index, due_s in self._due_s.items() if due_s <= now_s]:
            del self._due_s[index]
            self._expect([index])
            try:
                await self._ranks.start_one(index)
            except LaunchError as error:
                await self._follow(index, f"rank {self._plan.commands[index].dp_rank} is not begun anew ({error})")

    def _expect(self, indices: Sequence[int]) -> None:
        ports = self._look()
        for index in indices:
            self._begun_s[index] = time.monotonic()
            self._earlier[index] |= ports[index].lives
            self._not_ready.add(index)

    async def _follow(self, index: int, said: str) -> None:
        """Do what is to be done about a rank that has ended, or could not be begun."""
        self._note_ready(self._look())
        lived_s = time.monotonic() - self._begun_s[index]
        tries = self._tries[index].after(lived_s, was_ready=index not in self._not_ready)
        self._tries[index] = tries
        log_path = self._plan.commands[index].log_path
        match after_exit(tries, has_begun=self._has_begun, is_group=self._plan.is_group, others=self._others):
            case EndAll(because):
                raise LaunchError(f"{said} {because}; its log is {log_path}{last_lines(log_path)}")
            case GiveUp():
                log.error("%s; it is given up%s", said, last_lines(log_path))
                await self._give_up(index)
            case BeginAnew(delay_s):
                log.error("%s; it is begun anew in %g s%s", said, delay_s, last_lines(log_path))
                self._not_ready.discard(index)
                self._due_s[index] = time.monotonic() + delay_s
                await self._ranks.stop_one(index)
            case BeginAllAnew(delay_s):
                log.error("%s; its DP group is begun anew in %g s%s", said, delay_s, last_lines(log_path))
                await self._ranks.stop()
                await anyio.sleep(delay_s)
                self._tries = [tries] * len(self._tries)
                await self._begin_all()
            case other:
                assert_never(other)

    async def _see_them_ready(self) -> None:
        """Returns when all that are begun are ready. Raises LaunchError where one is not in time, or not ours."""
        while self._not_ready:
            ports, now_s = self._look(), time.monotonic()
            if self._none_are_claimed(ports):
                self._note_ready(ports)
            for index in sorted(self._not_ready):
                if now_s - self._begun_s[index] > self._plan.settings.ready_timeout_s:
                    await self._follow_late(index, ports[index])
            await anyio.sleep(_LOOK_S)

    def _none_are_claimed(self, ports: Sequence[LaunchedPort]) -> bool:
        answer = self._answer()
        return self._claims.none_are_made(claimed_by_others(ports, answer.refused), answer.at_s)

    def _note_ready(self, ports: Sequence[LaunchedPort]) -> None:
        self._not_ready -= {index for index in self._not_ready if ports[index].is_ready(self._earlier[index])}
        self._has_begun |= not self._not_ready

    async def _follow_late(self, index: int, port: LaunchedPort) -> None:
        """An independent rank that was begun anew is given up; any other ends all."""
        said = self._late(index, port)
        if self._plan.is_group or not self._has_begun or not self._others:
            raise LaunchError(said)
        log.error("%s", said)
        await self._give_up(index)

    @property
    def _others(self) -> int:
        """How many ranks there are beside one that has ended."""
        return len(self._begun_s) - len(self._given_up) - 1

    async def _give_up(self, index: int) -> None:
        self._given_up.add(index)
        self._not_ready.discard(index)
        await self._ranks.stop_one(index)

    def _late(self, index: int, port: LaunchedPort) -> str:
        command = self._plan.commands[index]
        why = port.complaint or "it has not been looked at yet"
        return (
            f"rank {command.dp_rank}: {port.port.target.name} is not ready after "
            f"{self._plan.settings.ready_timeout_s:g} s: it {why}; its log is {command.log_path}"
            f"{last_lines(command.log_path)}"
        )
