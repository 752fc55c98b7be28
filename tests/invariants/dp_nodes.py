"""The nodes of a DP group in virtual time: the product's plan and script, ranks that only run or do not."""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from random import Random
from typing import Any, TypeVar

import msgspec

from agent.group_plan import Action, End, GiveUp, Here, Start, Stop, after, draining, next_action
from scheduler.calls import Call, Reply, Word
from scheduler.errors import StoreUnavailableError
from scheduler.group_admin import end_generation, read_groups
from scheduler.group_generation import NONE, Cause, Claimed, Generation, Group, Span, Standing, Step, Wish
from scheduler.group_member import GroupMember
from scheduler.settings import SchedulerSettings
from simulator.store import VirtualStore
from tests.invariants.faulty_link import Fate
from tests.invariants.mutation import script_text

POOL, GROUP = "sim", "decode"
SETTINGS = SchedulerSettings()
Value = TypeVar("Value")


def done(coroutine: Coroutine[Any, Any, Value]) -> Value:
    """What a coroutine returns that never waits, as none does on a VirtualStore."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]  # the coroutine's own
    raise AssertionError("it waited")


class Link:
    """The way to the store; the next script call meets `fate`. Calls under way end with the store they went to."""

    def __init__(self, store: VirtualStore) -> None:
        self.store, self.fate = store, Fate.ARRIVES
        self.late: list[Call] = []

    async def run(self, calls: Sequence[Call]) -> list[Reply]:
        fate, self.fate = self.fate, Fate.ARRIVES
        if fate is Fate.ARRIVES:
            return await self.store.run(calls)
        if fate is Fate.REPLY_LOST:
            await self.store.run(calls)
        if fate is Fate.LATE:
            self.late += calls
        raise StoreUnavailableError(fate)

    async def command(self, *words: Word) -> Reply:
        return await self.store.command(*words)


class Node:
    """One node. `runs`: the generation whose ranks run here, if any do; `lives`: those in which they were started."""

    def __init__(self, number: int, spans: Sequence[Span], link: Link) -> None:
        self.number, self.spans, self.link = number, spans, link
        self.began = 0
        self.lives: list[Generation] = []
        self.begin()

    def begin(self) -> None:
        """The agent starts, for the first time or anew: no rank runs."""
        self.began += 1
        name, rng = f"n{self.number}", Random(self.number * 1000 + self.began)
        self.member = GroupMember(
            self.link, pool=POOL, group=GROUP, name=name, span=self.spans[self.number], settings=SETTINGS, rng=rng
        )
        self.here = Here(name)
        self.wish: Wish | None = None
        self.runs: Generation | None = None
        self.is_alive, self.is_ending, self.has_given_up = True, False, False

    def die(self) -> None:
        """The agent and its ranks are gone without a word."""
        self.is_alive, self.runs = False, None

    def drain(self) -> None:
        """Its operator stops it; what runs here goes on for a while."""
        self.here, self.is_ending = draining(self.here), True

    def leave(self, fate: Fate) -> None:
        """Its operator stops it."""
        self.die()
        self.tell(fate, Standing(self.here.at, Step.LEFT), Wish(Cause.LEFT, "left"))

    def fail(self) -> None:
        """A rank ends by itself."""
        self.here = msgspec.structs.replace(self.here, failure="a rank has ended")

    def get_on(self) -> None:
        """What was begun is done: ranks run, or answer, or are gone, and an agent that was stopped is, too."""
        step = self.here.step
        if self.is_ending:
            if self.is_alive:
                self.leave(Fate.ARRIVES)
        elif step is Step.STOPPING:
            self.runs = None
            self.here = Here(self.here.name, self.here.at, was_ready=self.here.was_ready)
        elif step in {Step.STARTING, Step.STARTED}:
            then = Step.STARTED if step is Step.STARTING else Step.READY
            was_ready = self.here.was_ready or then is Step.READY
            self.here = msgspec.structs.replace(self.here, step=then, was_ready=was_ready)

    def look(self, fate: Fate = Fate.ARRIVES) -> Action | None:
        """One word with the store, and what follows from it; None where there was no reply."""
        said = self.tell(fate, self.here.standing, self.wish)
        if said is None:
            return None
        self.wish = None
        action = next_action(self.here, said)
        if self.is_ending and not isinstance(action, Stop):
            return action
        self.here = after(self.here, action)
        match action:
            case Start():
                self.runs = self.here.at
                self.lives.append(self.here.at)
            case GiveUp():
                self.leave(Fate.ARRIVES)
                self.has_given_up = True
            case End(wish=wish):
                self.wish = wish
            case _:
                pass
        return action

    def tell(self, fate: Fate, standing: Standing, wish: Wish | None) -> Group | Claimed | None:
        self.link.fate = fate
        try:
            return done(self.member.tell(standing, wish))
        except StoreUnavailableError:
            return None


class DpGroup:
    """Nodes with two ranks each, and the store between them."""

    def __init__(self, nodes: int) -> None:
        self.store = VirtualStore(now_ms=1_700_000_000_000, text_of=script_text)
        self.link = Link(self.store)
        spans = [Span(2 * number, 2, 2 * nodes) for number in range(nodes)]
        self.nodes = [Node(number, spans, self.link) for number in range(nodes)]

    def check(self) -> None:
        """No two nodes run ranks of different generations, and none has started any twice in one."""
        for node in self.nodes:
            assert len(set(node.lives)) == len(node.lives), f"{node.here.name} starts anew in one generation"
            if node.runs and node.here.step is Step.STARTING:
                older = [other.here.name for other in self.nodes if other.runs and other.runs.number < node.runs.number]
                assert not older, f"{node.here.name} has started while {older} run"
        assert len({node.runs.mark for node in self.nodes if node.runs}) <= 1, "two generations run"

    def replace_data(self, data: dict[bytes, Any]) -> None:
        """The store begins with other data, and what was on its way to it is lost."""
        self.store.data = data
        self.link.late.clear()

    def ask(self) -> None:
        """An operator wants a restart."""
        for group in done(read_groups(self.link, POOL, 0)):
            done(end_generation(self.link, POOL, group, SETTINGS))

    @property
    def is_running(self) -> bool:
        """Whether all ranks answer in one generation."""
        return {node.here.step for node in self.nodes} == {Step.READY} and len({n.here.at for n in self.nodes}) == 1

    def settle(self, rounds: int = 120) -> None:
        """Nothing happens any more but what is to: all agents are there, and go on until the group runs."""
        for _ in range(rounds):
            for node in self.nodes:
                if not node.is_alive:
                    if node.has_given_up:
                        self.ask()
                    node.begin()
                node.look()
                node.get_on()
                self.check()
            self.store.now_ms += 1_000
            if self.is_running and all(node.here.at != NONE for node in self.nodes):
                return
        raise AssertionError([(node.here.name, node.here.step, node.here.at) for node in self.nodes])
