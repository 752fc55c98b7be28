"""Invariant 13, whatever nodes, ranks, operators and the store do: a DP group lives and dies as one."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from scheduler.group_generation import Step
from tests.invariants.dp_nodes import DpGroup
from tests.invariants.faulty_link import Fate
from tests.invariants.profiles import examples

NODES = 3
which = st.integers(0, NODES - 1)
fates = st.sampled_from([Fate.ARRIVES] * 6 + [Fate.REQUEST_LOST, Fate.REPLY_LOST, Fate.LATE])


class GroupMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.group = DpGroup(NODES)
        self.replica = self.group.store.snapshot()

    @rule(who=which, fate=fates)
    def look(self, who: int, fate: Fate) -> None:
        if self.group.nodes[who].is_alive:
            self.group.nodes[who].look(fate)

    @rule(rounds=st.integers(1, 6))
    def time_passes(self, rounds: int) -> None:
        """As it does most of the time: everybody looks, and what was begun gets done."""
        for _ in range(rounds):
            self.group.store.now_ms += 1_000
            for node in self.group.nodes:
                if node.is_alive:
                    node.look()
                    node.get_on()
                    self.group.check()

    @rule(who=which)
    def get_on(self, who: int) -> None:
        self.group.nodes[who].get_on()

    @rule(who=which)
    def a_rank_ends(self, who: int) -> None:
        if self.group.nodes[who].here.step in {Step.STARTING, Step.STARTED, Step.READY, Step.DRAINING}:
            self.group.nodes[who].fail()

    @rule(who=which)
    def a_node_dies(self, who: int) -> None:
        self.group.nodes[who].die()

    @rule(who=which)
    def a_node_drains(self, who: int) -> None:
        if self.group.nodes[who].is_alive:
            self.group.nodes[who].drain()

    @rule(who=which, fate=fates)
    def a_node_leaves(self, who: int, fate: Fate) -> None:
        if self.group.nodes[who].is_alive:
            self.group.nodes[who].leave(fate)

    @rule(who=which)
    def an_agent_starts(self, who: int) -> None:
        """Where one ran, it died a moment before."""
        self.group.nodes[who].begin()

    @rule()
    def an_operator_asks(self) -> None:
        self.group.ask()

    @precondition(lambda self: self.group.link.late)
    @rule(pick=st.integers(0, 99))
    def a_late_call_arrives(self, pick: int) -> None:
        late = self.group.link.late
        self.group.store.call(late.pop(pick % len(late)))

    @rule()
    def remember_replica(self) -> None:
        self.replica = self.group.store.snapshot()

    @rule()
    def promote_replica(self) -> None:
        self.group.replace_data(self.replica)
        self.replica = self.group.store.snapshot()

    @rule()
    def restart_store_empty(self) -> None:
        self.group.replace_data({})

    @invariant()
    def no_rank_starts_beside_an_older_one(self) -> None:
        self.group.check()

    def teardown(self) -> None:
        """All come back, and the group runs."""
        self.group.settle()


TestGroup = GroupMachine.TestCase
TestGroup.settings = examples(40, steps=40)
