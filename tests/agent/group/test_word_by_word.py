"""What a node does by what it hears of its DP group word by word, from a store that says what a test wants."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import SimpleNamespace

import pytest

from agent import group_restart
from agent.errors import GroupClaimedError
from agent.group_restart import CLAIM_PATIENCE_S, GroupRestart
from forebay.causes import first_cause
from scheduler.errors import StoreUnavailableError
from scheduler.group_generation import Cause, Claimed, Generation, Group, Member, Span, Standing, Step, Wish

NAME = "node-b"
LONG_S = CLAIM_PATIENCE_S + 1
TAKEN = Claimed("node-c, which has rank 1 of 2")
ENDING = Claimed("node-c, which has rank 1 of 2", is_ending=True)
AWAY = StoreUnavailableError("away")
FIRST, SECOND, THIRD = Generation(1, "a"), Generation(2, "b"), Generation(3, "c")


def group(at: Generation, *members: Member, pool_ms: int = 40) -> Group:
    return Group(
        name="decode", generation=at, begun_ms=pool_ms, failures_ms=(), why="", members=members, pool_ms=pool_ms
    )


def confirmed(name: str, rank: int, step: Step = Step.STOPPED) -> Member:
    return Member(
        name=name,
        instance="i",
        at=SECOND,
        step=step,
        span=Span(rank, 1, 2),
        confirmed_version=1,
        heard_version=1,
        heard_ms=30,
    )


ME = confirmed(NAME, 1)
HELD_UP = (group(FIRST, pool_ms=10), group(SECOND, pool_ms=20), group(SECOND, confirmed("node-a", 0), ME))
"""What brings a node to confirm a generation; the node of rank 0 has yet to start."""
MAY_START = group(SECOND, confirmed("node-a", 0, Step.STARTED), ME)
FREE = (*HELD_UP[:2], MAY_START)
"""What brings it to announce that it may start its ranks."""


class Words:
    """A member that hears these in turn, each so many seconds after the one before; then it hears nothing."""

    def __init__(self, *heard: tuple[float, Group | Claimed | StoreUnavailableError]) -> None:
        self.heard, self.now_s = list(heard), 0.0
        self.are_over = asyncio.Event()
        self.told: list[Step] = []
        self.wishes: list[Wish] = []
        self.at: dict[int, Callable[[], None]] = {}
        """What happens as the word of this number is heard, counted from 0."""

    async def tell(self, standing: Standing, wish: Wish | None = None) -> Group | Claimed:
        await turns(9)  # whatever was begun gets on
        self.wishes += [wish] if wish else []
        if not self.heard:
            self.are_over.set()
            await asyncio.Event().wait()
        self.at.get(len(self.told), lambda: None)()
        self.told.append(standing.step)
        seconds, said = self.heard.pop(0)
        self.now_s += seconds
        if isinstance(said, StoreUnavailableError):
            raise said
        return said


async def turns(count: int) -> None:
    """Of the event loop."""
    for _ in range(count):
        await asyncio.sleep(0)


def soon(*said: Group) -> list[tuple[float, Group]]:
    return [(0.0, each) for each in said]


class Ranks:
    """Ranks of which one ends by itself when it is told to."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.ends = asyncio.Event()

    async def start(self) -> None:
        self.done.append("start")

    async def stop(self) -> None:
        self.done.append("stop")
        await turns(30)

    async def next_exit(self) -> str:
        await self.ends.wait()
        return "rank 1 has ended"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group_restart, "LOOK_S", 0.001)
    monkeypatch.setattr(group_restart, "_GOODBYE_DEADLINE_S", 0.001)


def node_of(words: Words, ranks: Ranks, coordinates: asyncio.Event, monkeypatch: pytest.MonkeyPatch) -> GroupRestart:
    """On the clock of the words."""
    monkeypatch.setattr(group_restart, "time", SimpleNamespace(monotonic=lambda: words.now_s))

    async def coordinated() -> None:
        await coordinates.wait()

    return GroupRestart(NAME, words, ranks, is_ready=lambda: False, coordinated=coordinated)


async def end_of(node: GroupRestart, words: Words) -> BaseException | None:
    """What ends the node before it has heard all, if anything does."""
    async with asyncio.timeout(10):
        try:
            async with asyncio.TaskGroup() as tasks:
                running = tasks.create_task(node.run(), name="node")
                await words.are_over.wait()
                running.cancel()
        except ExceptionGroup as error:
            return first_cause(error)
    return None


async def claimed(words: Words, monkeypatch: pytest.MonkeyPatch) -> BaseException | None:
    return await end_of(node_of(words, Ranks(), asyncio.Event(), monkeypatch), words)


async def test_ranks_that_another_agent_has_for_long_end_the_node(monkeypatch: pytest.MonkeyPatch) -> None:
    error = await claimed(Words((0, TAKEN), (LONG_S, TAKEN)), monkeypatch)
    assert isinstance(error, GroupClaimedError)
    assert str(error) == "node node-b: its ranks, or a group of another size, belong to node-c, which has rank 1 of 2"


async def test_so_do_ranks_that_are_claimed_when_they_may_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    words = Words(*soon(*FREE), (0, TAKEN), (LONG_S, TAKEN))
    assert isinstance(await claimed(words, monkeypatch), GroupClaimedError)
    assert words.told[-1] is Step.ANNOUNCED


async def test_a_claim_counts_from_when_it_is_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    assert await claimed(Words((LONG_S, AWAY), (0, TAKEN)), monkeypatch) is None
    assert await claimed(Words((0, TAKEN), (LONG_S, AWAY), (0, TAKEN)), monkeypatch) is None


async def test_ranks_of_an_agent_that_ends_are_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    assert await claimed(Words((0, ENDING), (LONG_S, ENDING), (LONG_S, TAKEN)), monkeypatch) is None


async def test_ranks_that_are_to_stop_are_not_said_to_have_started(monkeypatch: pytest.MonkeyPatch) -> None:
    words, ranks, coordinates = Words(*soon(*FREE, MAY_START, *[group(THIRD)] * 4)), Ranks(), asyncio.Event()
    words.at[len(FREE) + 1] = coordinates.set
    assert await end_of(node_of(words, ranks, coordinates, monkeypatch), words) is None
    assert words.told[len(FREE) :][:2] == [Step.ANNOUNCED, Step.STARTING]
    assert Step.STARTED not in words.told
    assert ranks.done == ["start", "stop"]


async def test_a_node_that_leaves_a_generation_that_others_may_have_started_ends_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    words = Words(*soon(*HELD_UP))
    node = node_of(words, Ranks(), asyncio.Event(), monkeypatch)
    assert await end_of(node, words) is None
    words.heard = [(0, HELD_UP[-1])] * 9
    await node.leave()
    assert words.wishes[-1] == Wish(Cause.LEFT, "node-b has left")


async def test_a_node_that_never_was_in_a_generation_ends_none(monkeypatch: pytest.MonkeyPatch) -> None:
    words = Words(*soon(HELD_UP[0]))
    node = node_of(words, Ranks(), asyncio.Event(), monkeypatch)
    assert await end_of(node, words) is None
    words.wishes.clear()
    await node.leave()
    assert words.wishes == []


async def drained(words: Words, ranks: Ranks, monkeypatch: pytest.MonkeyPatch, *heard: Group | Claimed) -> None:
    """A node that hears this while a request runs on its ranks that would not end."""
    node = node_of(words, ranks, asyncio.Event(), monkeypatch)
    assert await end_of(node, words) is None
    words.heard = [(0, each) for each in heard]

    async def until_empty() -> None:
        await asyncio.Event().wait()

    async with asyncio.timeout(10):
        await node.drain(until_empty)
    assert words.told[-1] is Step.DRAINING


@pytest.mark.parametrize("last", [group(THIRD), TAKEN], ids=["generation-over", "ranks-taken"])
async def test_a_node_whose_ranks_are_to_stop_drains_no_longer(
    last: Group | Claimed, monkeypatch: pytest.MonkeyPatch
) -> None:
    await drained(Words(*soon(*FREE, MAY_START, MAY_START)), Ranks(), monkeypatch, MAY_START, last)


async def test_a_node_of_which_a_rank_had_just_ended_does_not_drain(monkeypatch: pytest.MonkeyPatch) -> None:
    words, ranks = Words(*soon(*FREE, MAY_START, MAY_START)), Ranks()
    words.at[len(words.heard) - 1] = ranks.ends.set
    await drained(words, ranks, monkeypatch, MAY_START)
