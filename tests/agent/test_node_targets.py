"""Ports are added to a node that runs, and taken away from it."""

import pytest

from agent.node import open_node
from agent.targets import Target
from scheduler.errors import StoreUnavailableError
from scheduler.messages import RankState
from tests.agent.fakes import RecordingReporter, healthy_answers, http, scripted_rank
from tests.agent.running_node import FAST
from tests.agent.samples import page_bytes, settings
from tests.polling import until
from tests.ports import free_ports


def target(port: int) -> Target:
    return Target("127.0.0.1", port)


async def test_a_port_that_is_added_is_offered_once_it_answers() -> None:
    store = RecordingReporter()
    first, second = free_ports(2)
    async with (
        scripted_rank(healthy_answers(), first),
        open_node(settings(ranks=f"127.0.0.1:{first}", **FAST), store, lambda _: None) as node,
    ):
        await until(lambda: target(first).name in store.last, "the first rank is offered")
        node.add(target(second))
        node.add(target(second))
        assert node.ranks_at(target(second)) == ()
        async with scripted_rank(healthy_answers(), second):
            await until(lambda: target(second).name in store.last, "the second rank is offered")
            assert node.ranks_at(target(second)) == (target(second).name,)


async def test_the_ranks_of_a_port_that_is_removed_leave_the_pool_and_may_come_back() -> None:
    store = RecordingReporter()
    first, second = free_ports(2)
    async with (
        scripted_rank(healthy_answers(), first),
        scripted_rank(healthy_answers(), second) as removed,
        open_node(settings(ranks=f"127.0.0.1:{first}-{first},127.0.0.1:{second}", **FAST), store, print) as node,
    ):
        name = target(second).name
        await until(lambda: len(store.last) == 2, "both ranks are offered")
        node.remove(target(second))
        node.remove(target(second))
        await until(lambda: name in store.last and store.last[name].state is RankState.GONE, "it has left")
        await until(lambda: set(store.last) == {target(first).name}, "it is not spoken of any more")
        asked = len(removed.asked)
        told = len(store.told)
        await until(lambda: len(store.told) > told + 3, "the other rank is still reported")
        assert len(removed.asked) <= asked + 1
        node.add(target(second))
        await until(lambda: name in store.last and store.last[name].state is RankState.UP, "it is back")


@pytest.mark.parametrize("removed_again", [False, True])
async def test_a_port_that_is_taken_away_and_added_with_fewer_engines_leaves_none_behind(removed_again: bool) -> None:
    store = RecordingReporter()
    (port,) = free_ports(1)
    both = page_bytes("idle") + page_bytes("idle").replace(b'engine="0"', b'engine="1"')
    async with (
        scripted_rank(healthy_answers() | {"/metrics": http(200, both)}, port) as rank,
        open_node(settings(ranks=f"127.0.0.1:{port}", **FAST), store, print) as node,
    ):
        names = {f"{target(port).name}#{index}" for index in (0, 1)}
        one = (target(port).name,)
        expected = names | (set(one) if removed_again else set())
        await until(lambda: set(store.last) == names, "both engines are offered")
        rank.answers["/metrics"] = http(200, page_bytes("idle"))
        store.fault = StoreUnavailableError("away")
        node.remove(target(port))
        node.add(target(port))
        await until(lambda: node.ranks_at(target(port)) == one, "the one engine is known")
        if removed_again:
            node.remove(target(port))
        store.fault = None
        await until(
            lambda: {name for name in store.last if store.last[name].state is RankState.GONE} == expected,
            "the store has heard of all that left",
        )


async def test_a_port_that_never_answered_is_removed_without_a_word() -> None:
    store = RecordingReporter()
    first, absent = free_ports(2)
    async with (
        scripted_rank(healthy_answers(), first),
        open_node(settings(ranks=f"127.0.0.1:{first},127.0.0.1:{absent}", **FAST), store, print) as node,
    ):
        await until(lambda: target(first).name in store.last, "the first rank is offered")
        node.remove(target(absent))
        told = len(store.told)
        await until(lambda: len(store.told) > told + 3, "reports go on")
        assert {name for reports in store.told for name in reports} == {target(first).name}
