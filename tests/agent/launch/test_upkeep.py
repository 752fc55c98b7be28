"""How an agent keeps the ranks it launched, by what it hears and sees of them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from agent.discovery import rank_card
from agent.errors import LaunchError
from agent.launch import upkeep
from agent.launch.plan import LaunchPlan
from agent.launch.rank_command import Arguments, rank_commands
from agent.launch.rank_set import RankExit
from agent.launch.readiness import LaunchedPort
from agent.launch.upkeep import Upkeep
from agent.port_state import PortState, fold, introduce
from agent.targets import Target
from scheduler.messages import RankCard
from tests.agent.launch.samples import launching
from tests.agent.samples import ABOUT, answered, settings
from tests.polling import until

FIRST_PORT = 9000


class FakeRanks:
    """Two ranks that end when a test says so; what was done with them."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self._exits: asyncio.Queue[RankExit] = asyncio.Queue()

    def end(self, index: int, returncode: int = -9) -> None:
        self._exits.put_nowait(RankExit(index=index, dp_rank=index, returncode=returncode, log_path="/no/log"))

    async def start(self) -> None:
        self.done.append("start")

    async def stop(self) -> None:
        self.done.append("stop")

    async def start_one(self, index: int) -> None:
        self.done.append(f"start {index}")

    async def stop_one(self, index: int) -> None:
        self.done.append(f"stop {index}")

    async def next_exit(self) -> RankExit:
        return await self._exits.get()


class Site:
    """Upkeep at work, and the world it sees."""

    def __init__(self, *, is_group: bool, **options: Any) -> None:
        self.ranks = FakeRanks()
        self.lives = [0, 0]
        self.refused: dict[str, str] = {}
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
        plan = LaunchPlan(
            commands=commands,
            ranks="127.0.0.1:9000-9001",
            dp_group="",
            is_group=is_group,
            is_whole_group=True,
            log_dir="/no",
            settings=launch,
        )
        self.upkeep = Upkeep(plan, self.ranks, self._look, lambda: self.refused)

    def _look(self) -> list[LaunchedPort]:
        return [
            LaunchedPort(port=_port(FIRST_PORT + index, life), complaint="is not offered: yet", stall_ms=10_000)
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


@asynccontextmanager
async def kept(site: Site) -> AsyncIterator[asyncio.Task[None]]:
    """Upkeep that has begun, its ranks ready."""
    task = asyncio.create_task(site.upkeep.run())  # noqa: TID251
    try:
        await until(lambda: site.ranks.done == ["start"], "the ranks are started")
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.fixture(autouse=True)
def haste(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upkeep, "_LOOK_S", 0.001)
    monkeypatch.setattr("agent.launch.after_exit._FIRST_DELAY_S", 0.001)


async def error_of(task: asyncio.Task[None]) -> str:
    async with asyncio.timeout(10):
        (error,) = await asyncio.gather(task, return_exceptions=True)
    while isinstance(error, BaseExceptionGroup):
        (error,) = error.exceptions
    assert isinstance(error, LaunchError)
    return str(error)


async def test_an_independent_rank_that_ends_is_begun_anew_and_the_other_is_left_alone() -> None:
    site = Site(is_group=False)
    async with kept(site):
        site.lives = [1, 1]
        site.ranks.end(1)
        await until(lambda: site.ranks.done == ["start", "stop 1", "start 1"], "it is begun anew")


async def test_a_dp_group_that_is_all_here_ends_whole_before_it_is_begun_anew() -> None:
    site = Site(is_group=True)
    async with kept(site):
        site.lives = [1, 1]
        site.ranks.end(1)
        await until(lambda: site.ranks.done == ["start", "stop", "start"], "it is begun anew")


async def test_the_looks_before_a_rank_ended_make_its_next_life_not_ready() -> None:
    site = Site(is_group=True, ready_timeout_s=0.1)
    async with kept(site) as task:
        site.lives = [1, 1]
        site.ranks.end(1)
        await until(lambda: site.ranks.done == ["start", "stop", "start"], "it is begun anew")
        said = await error_of(task)
    assert said.startswith("rank 0: 127.0.0.1:9000 is not ready after 0.1 s: it is not offered: yet")


async def test_an_independent_rank_that_is_not_ready_in_its_next_life_is_given_up_and_the_other_goes_on() -> None:
    site = Site(is_group=False, ready_timeout_s=0.1)
    async with kept(site) as task:
        site.lives = [1, 1]
        site.ranks.end(1)
        await until(lambda: site.ranks.done == ["start", "stop 1", "start 1", "stop 1"], "it is given up")
        site.ranks.end(0)
        assert (await error_of(task)).startswith("rank 0: 127.0.0.1:9000 is not ready after 0.1 s")
        assert site.ranks.done[4:] == ["stop 0", "start 0"]


async def test_ranks_that_another_agent_has_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upkeep, "_CLAIM_OVER_S", 0.01)
    site = Site(is_group=False)
    site.refused = {"127.0.0.1:9001": "node-b"}
    async with kept(site) as task:
        site.lives = [1, 1]
        assert await error_of(task) == "rank 127.0.0.1:9001 is claimed by agent node-b"


async def test_a_rank_that_never_lasts_is_given_up_and_the_last_one_ends_the_agent() -> None:
    site = Site(is_group=False)
    async with kept(site) as task:
        site.lives = [1, 1]
        for tries in range(1, 7):
            site.ranks.end(1)
            await until(lambda n=tries: site.ranks.done.count("stop 1") == n, "it has ended")  # type: ignore[misc]
            await until(lambda n=tries: site.ranks.done.count("start 1") == min(n, 5), "it is begun anew, or not")  # type: ignore[misc]
        for _ in range(6):
            site.ranks.end(0)
        assert (await error_of(task)).startswith("rank 0 (port 9000) was ended by signal 9 after 5 tries")
