"""The ranks of a proxy that runs: which there are, and how more come and some leave."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from enum import Enum

import anyio
from anyio.abc import TaskGroup

from agent.node import Node
from agent.targets import Target
from scheduler.draining import PooledRank, Selection, drain, read_pool
from scheduler.emptying import Emptying
from scheduler.errors import StoreRejectedError, StoreUnavailableError, UnknownRankError
from scheduler.messages import RankState, Role
from scheduler.settings import SchedulerSettings
from scheduler.store import Store

LOOK_S = 0.2

log = logging.getLogger(__name__)


class _Stage(Enum):
    WAITING = "has not answered since it was added"
    SERVING = "serves, or is to serve since the start"
    LEAVING = "gets nothing more, and leaves when it has done what it has"


class Instances:
    """Of one proxy; `nodes` watch its ranks, and `configured` were there from the start.

    `tasks` run what takes longer than a request about them.
    """

    def __init__(
        self,
        nodes: Mapping[Role, Node],
        configured: Mapping[Role, Sequence[Target]],
        store: Store,
        pool: str,
        tasks: TaskGroup,
    ) -> None:
        self._nodes, self._store, self._pool, self._tasks = nodes, store, pool, tasks
        self._stages: dict[Role, dict[Target, _Stage]] = {
            role: dict.fromkeys(targets, _Stage.SERVING) for role, targets in configured.items()
        }
        self._settings = SchedulerSettings()

    @property
    def roles(self) -> tuple[Role, ...]:
        """What the proxy's ranks do."""
        return tuple(self._stages)

    def current(self, role: Role) -> list[str]:
        """`host:port` of those of a role that requests may go to."""
        return [target.name for target, stage in self._stages[role].items() if stage is _Stage.SERVING]

    def known(self, target: Target) -> tuple[Role | None, Target]:
        """What an instance does, and how it is called here: as it was given first. None: there is no such instance."""
        for role, stages in self._stages.items():
            for other in stages:
                if other.listener == target.listener:
                    return role, other
        return None, target

    def add(self, role: Role, targets: Iterable[Target]) -> list[str]:
        """Take these in once they answer; returns those that are waited for."""
        stages, waiting = self._stages[role], []
        for target in targets:
            stage = stages.get(target)
            if stage is None or stage is _Stage.LEAVING:
                stages[target] = _Stage.WAITING
                self._nodes[role].add(target)
                self._tasks.start_soon(self._take, role, target, name=f"add {target.name}")
            if stages[target] is _Stage.WAITING:
                waiting.append(target.name)
        return waiting

    def remove(self, role: Role, targets: Iterable[Target]) -> list[str]:
        """Place nothing more on these, and let them go when they are empty; returns those that are not gone yet."""
        stages, leaving = self._stages[role], []
        for target in targets:
            if not self._nodes[role].ranks_at(target):
                self._forget(role, target)
            elif target in stages:
                if stages[target] is not _Stage.LEAVING:
                    stages[target] = _Stage.LEAVING
                    self._tasks.start_soon(self._let_go, role, target, name=f"remove {target.name}")
                leaving.append(target.name)
        return leaving

    def _forget(self, role: Role, target: Target) -> None:
        self._stages[role].pop(target, None)
        self._nodes[role].remove(target)

    async def _take(self, role: Role, target: Target) -> None:
        """Wait until its ranks are in the pool; what an earlier removal left of a drain is undone."""
        while self._stages[role].get(target) is _Stage.WAITING:
            if await self._are_in(self._nodes[role].ranks_at(target)):
                if self._stages[role].get(target) is _Stage.WAITING:
                    self._stages[role][target] = _Stage.SERVING
                    log.info("%s instance %s is added", role, target.name)
                return
            await anyio.sleep(LOOK_S)

    async def _are_in(self, ranks: Sequence[str]) -> bool:
        """Whether requests may go to these ranks, after this look at the pool."""
        if not ranks:
            return False
        try:
            view, _ = await read_pool(self._store, self._pool, self._settings)
            seen = [view.ranks[rank].seen for rank in ranks if rank in view.ranks]
            for rank in ranks if any(each.drained for each in seen) else ():
                await drain(self._store, Selection(rank=rank), self._settings, undo=True)
        except (StoreUnavailableError, StoreRejectedError, UnknownRankError):
            return False
        return len(seen) == len(ranks) and all(each.state is RankState.UP and not each.drained for each in seen)

    async def _let_go(self, role: Role, target: Target) -> None:
        """Drain its ranks, wait until they are empty, and have the node take them out of the pool."""
        ranks = self._nodes[role].ranks_at(target)
        emptying = Emptying(self._store, [PooledRank(self._pool, rank) for rank in ranks], self._settings)
        while self._stages[role].get(target) is _Stage.LEAVING:
            if await self._are_drained(ranks) and await self._are_empty(emptying):
                if self._stages[role].get(target) is _Stage.LEAVING:
                    self._forget(role, target)
                    log.info("%s instance %s is removed", role, target.name)
                return
            await anyio.sleep(LOOK_S)

    async def _are_drained(self, ranks: Sequence[str]) -> bool:
        """Again at each look: a store that came back empty may have lost the word."""
        for rank in ranks:
            try:
                await drain(self._store, Selection(rank=rank), self._settings)
            except UnknownRankError:
                continue  # it is in no pool, so nothing is placed on it
            except (StoreUnavailableError, StoreRejectedError):
                return False
        return True

    async def _are_empty(self, emptying: Emptying) -> bool:
        try:
            return all(left.is_away for left in await emptying.look())
        except (StoreUnavailableError, StoreRejectedError):
            return False
