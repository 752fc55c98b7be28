"""Starts and stops a node's ranks as their DP group's generation says: group_plan.py decides, this does."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Protocol

import anyio
import msgspec

from agent.errors import GroupClaimedError, GroupDownError
from agent.group_plan import (
    Action,
    Announce,
    Confirm,
    End,
    GiveUp,
    Here,
    Rest,
    Start,
    Stop,
    after,
    draining,
    next_action,
    stopping,
)
from agent.rank_set import RankSet
from scheduler.errors import SchedulerError, StoreRejectedError
from scheduler.group_generation import NONE, Cause, Claimed, Group, GroupPhase, Standing, Step, Wish

log = logging.getLogger(__name__)
LOOK_S = 1.0
"""Between two words with the store while the group runs and nothing happens here."""
SOON_S = 0.2
"""The same while it is stopped and started: each step waits for the words of others, and all of them for the last."""
CLAIM_PATIENCE_S = 15.0
"""An agent that is started anew may find its ranks claimed by its former life, which is heard no longer."""
_GOODBYE_DEADLINE_S = 2.0


class Member(Protocol):
    """The store's side (scheduler.group_member.GroupMember)."""

    async def tell(self, standing: Standing, wish: Wish | None = None) -> Group | Claimed:
        """Say where this node is, and hear of all. Raises SchedulerError."""
        ...


class GroupRestart:
    """One node of a DP group. Of the end of one of its `ranks` it is told in words which, and how.

    `is_ready` says whether all its ranks answer; `coordinated` returns once rank 0, started here or not, coordinates.
    """

    def __init__(
        self,
        node: str,
        member: Member,
        ranks: RankSet[str],
        *,
        is_ready: Callable[[], bool],
        coordinated: Callable[[], Awaitable[None]],
    ) -> None:
        self._member, self._ranks, self._is_ready, self._coordinated = member, ranks, is_ready, coordinated
        self._here = Here(node)
        self._wish: Wish | None = None
        self._life: asyncio.Task[None] | None = None
        self._news = asyncio.Event()
        self._complaint = ""
        self._awaited: tuple[str, ...] = ()
        self._was_heard = False
        self._heard_of = NONE
        self._look_s = LOOK_S
        self._claimed_s: float | None = None

    async def run(self) -> None:
        """Follow the group until cancelled; what runs then is for `leave` to stop.

        Raises, in an exception group, GroupDownError when the group has failed too often, GroupClaimedError when
        another agent has these ranks, StoreRejectedError when the store never took a word, and what the ranks' start
        raises.
        """
        async with asyncio.TaskGroup() as tasks:
            await self._follow(tasks)

    async def drain(self, until_empty: Callable[[], Awaitable[None]]) -> None:
        """After `run`, let what runs on the ranks go on until `until_empty` returns, and tell the group meanwhile.

        Ends earlier when the generation does: then the ranks of all nodes are stopped.
        """
        self._here = draining(self._here)
        async with self._telling():
            await until_empty()

    async def leave(self) -> None:
        """Stop the ranks, then tell the group, whose generation ends where this node has confirmed it."""
        is_counted_on = self._here.at == self._heard_of != NONE
        wish = Wish(Cause.LEFT, f"{self._node} has left") if is_counted_on else None
        self._here = stopping(self._here)
        async with self._telling():
            await self._ranks.stop()
        with anyio.move_on_after(_GOODBYE_DEADLINE_S):
            try:
                await self._member.tell(Standing(self._here.at, Step.LEFT), wish)
            except SchedulerError as error:
                log.warning("node %s leaves its DP group without a word: %s", self._node, error)

    @asynccontextmanager
    async def _telling(self) -> AsyncIterator[None]:
        """Tell the group where this node is. What is done within is cancelled when its ranks are to stop."""
        over = anyio.Event()
        async with anyio.create_task_group() as tasks:
            with anyio.CancelScope() as within:
                tasks.start_soon(self._tell_until, over, within, name="tell the group where this node is")
                yield
            # No word is cut off under way: it could arrive after the last one, as if this node were back.
            over.set()

    async def _tell_until(self, over: anyio.Event, within: anyio.CancelScope) -> None:
        """Of one that has confirmed no generation there is nothing to tell: it has no ranks."""
        while self._here.at != NONE and not over.is_set():
            said = await self._tell()
            if said is not None and isinstance(action := next_action(self._here, said), Stop):
                log.warning("node %s waits no longer for what runs on its ranks: %s", self._node, action.why)
                within.cancel()
                return
            with anyio.move_on_after(LOOK_S):
                await over.wait()

    async def _follow(self, tasks: asyncio.TaskGroup) -> None:
        while True:
            self._news.clear()
            if self._here.step is Step.STARTED and self._is_ready():
                self._here = msgspec.structs.replace(self._here, step=Step.READY, was_ready=True)
            if (said := await self._tell()) is not None:
                self._do(next_action(self._here, said), tasks)
                is_on_its_way = isinstance(said, Group) and said.phase is not GroupPhase.RUNNING
                self._look_s = min(SOON_S, LOOK_S) if is_on_its_way else LOOK_S
            self._check_claim(said)
            await self._wait_for_news()

    async def _tell(self) -> Group | Claimed | None:
        """What the store says; None where it cannot be asked."""
        wish = self._wish
        try:
            said = await self._member.tell(self._here.standing, wish)
        except SchedulerError as error:
            if isinstance(error, StoreRejectedError) and not self._was_heard:
                raise
            if str(error) != self._complaint:
                log.warning("node %s cannot ask for its DP group: %s; its ranks stay as they are", self._node, error)
            self._complaint = str(error)
            return None
        self._was_heard, self._complaint, self._wish = True, "", None
        self._heard_of = said.generation if isinstance(said, Group) else self._heard_of
        return said

    def _do(self, action: Action, tasks: asyncio.TaskGroup) -> None:
        number, self._here = self._here.at.number, after(self._here, action)
        match action:
            case Rest(awaited=awaited):
                self._log_awaited(awaited)
                return
            case Confirm(at=at):
                log.info("node %s: nothing runs here, generation %d may begin", self._node, at.number)
            case Announce():
                pass
            case Start():
                log.info("node %s starts its ranks in generation %d", self._node, number)
                self._life = tasks.create_task(self._live(), name="the ranks of this node")
            case Stop(why=why):
                log.warning("node %s stops its ranks of generation %d: %s", self._node, number, why)
                if self._life is not None:
                    self._life.cancel()  # here, lest it says in this very moment that the ranks have started
                tasks.create_task(self._stop(), name="stop the ranks of this node")
            case End(wish=wish):
                self._wish = wish
            case GiveUp(why=why):
                raise GroupDownError(why)
        self._news.set()

    async def _live(self) -> None:
        """Start the ranks, and hear of the first that ends by itself."""
        await self._ranks.start()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._watch(), name="watch the ranks of this node")
            await self._coordinated()
            self._move(Step.STARTED)
            self._news.set()

    async def _watch(self) -> None:
        failure = await self._ranks.next_exit()
        log.warning("node %s: %s", self._node, failure)
        self._here = msgspec.structs.replace(self._here, failure=failure)
        self._news.set()

    async def _stop(self) -> None:
        if self._life is not None:
            await asyncio.wait([self._life])
        await self._ranks.stop()
        self._here = Here(self._node, self._here.at, was_ready=self._here.was_ready)
        self._news.set()

    def _check_claim(self, said: Group | Claimed | None) -> None:
        """Raises GroupClaimedError when nothing runs here and another agent has had these ranks for long."""
        if not isinstance(said, Claimed) or said.is_ending or self._here.step not in {Step.STOPPED, Step.ANNOUNCED}:
            self._claimed_s = None
            return
        now_s = time.monotonic()
        self._claimed_s = now_s if self._claimed_s is None else self._claimed_s
        if now_s - self._claimed_s > CLAIM_PATIENCE_S:
            raise GroupClaimedError(f"node {self._node}: its ranks, or a group of another size, belong to {said.by}")

    def _move(self, step: Step) -> None:
        self._here = msgspec.structs.replace(self._here, step=step)

    @property
    def _node(self) -> str:
        return self._here.name

    def _log_awaited(self, awaited: tuple[str, ...]) -> None:
        if awaited and awaited != self._awaited:
            log.info("node %s waits for %s", self._node, "; ".join(awaited))
        self._awaited = awaited

    async def _wait_for_news(self) -> None:
        with anyio.move_on_after(self._look_s):
            await self._news.wait()
