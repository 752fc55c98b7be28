"""Two ranks that only seem to run, for tests of what is decided about them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from agent.claims import StoreAnswer
from agent.discovery import rank_card
from agent.errors import LaunchError
from agent.launch.plan import LaunchPlan
from agent.launch.rank_command import Arguments, rank_commands
from agent.launch.readiness import LaunchedPort
from agent.port_state import PortState, fold, introduce
from agent.rank_set import RankExit
from agent.targets import Target
from scheduler.messages import RankCard
from tests.agent.launch.samples import launching
from tests.agent.samples import ABOUT, answered, settings

FIRST_PORT = 9000


class FakeRanks:
    """Two ranks that end when a test says so; what was done with them. `when_started` is called by each start."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.when_started: Callable[[], None] = lambda: None
        self.hindrances: list[str] = []
        self._exits: asyncio.Queue[RankExit] = asyncio.Queue()

    def end(self, index: int, returncode: int = -9) -> None:
        self._exits.put_nowait(RankExit(index=index, dp_rank=index, returncode=returncode, log_path="/no/log"))

    async def start(self) -> None:
        self.done.append("start")
        self.when_started()

    async def stop(self) -> None:
        self.done.append("stop")

    async def start_one(self, index: int) -> None:
        self.done.append(f"start {index}")
        if self.hindrances:
            raise LaunchError(self.hindrances.pop())

    async def stop_one(self, index: int) -> None:
        self.done.append(f"stop {index}")

    async def next_exit(self) -> RankExit:
        return await self._exits.get()


class Site:
    """A plan of two ranks, and the world that whoever keeps them sees; `answers`: as soon as they are started."""

    def __init__(self, *, is_group: bool, answers: bool = False, **options: Any) -> None:
        self.ranks = FakeRanks()
        self.lives = [0, 0]
        if answers:
            self.ranks.when_started = self.answer
        self.looks = 0
        self.refused: dict[str, str] = {}
        self.store_is_away = False
        self._store_answer = StoreAnswer()
        self.is_told = True
        self.looks = 0
        launch = launching(dp_size=2, **options)
        commands = rank_commands(
            launch,
            Arguments(takes="main", dp_address="h", devices=("0", "1"), is_alone=False),
            program=("bash", "run.sh"),
            folder="/",
            environment={},
            device_kind="none",
            log_dir="/no",
        )
        self.plan = LaunchPlan(
            commands=commands,
            ranks="127.0.0.1:9000-9001",
            dp_group="",
            is_group=is_group,
            is_whole_group=True,
            log_dir="/no",
            settings=launch,
        )

    def answer(self) -> None:
        """Both ranks do, in their first life."""
        self.lives = [1, 1]

    def store_answer(self) -> StoreAnswer:
        """The store's last one."""
        if not self.store_is_away:
            self._store_answer = StoreAnswer(refused=dict(self.refused), at_s=time.monotonic())
        return self._store_answer

    def look(self) -> list[LaunchedPort]:
        self.looks += 1
        return [
            LaunchedPort(
                port=_port(FIRST_PORT + index, life),
                complaint="is not offered: yet",
                stall_ms=10_000,
                is_told=self.is_told,
            )
            for index, life in enumerate(self.lives)
        ]


def _port(number: int, life: int) -> PortState:
    """A port that was introduced in this life; 0: nobody has answered there yet."""
    port = PortState(target=Target("127.0.0.1", number))
    if not life:
        return port
    port = fold(port, answered(process_start_s=float(life)), settings(), fresh_suffix="x")
    (track,) = port.ranks
    card: RankCard = rank_card(track.rank, port.target, track.sample, track.incarnation.text, ABOUT, settings())
    return introduce(port, [card])
