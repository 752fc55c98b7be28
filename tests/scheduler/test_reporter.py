"""What an agent says, as a gateway reads it."""

from __future__ import annotations

import pytest

from scheduler import calls
from scheduler.calls import Reply, Word
from scheduler.errors import StoreRejectedError
from scheduler.keys import POOLS, PoolKeys
from scheduler.messages import RankState
from scheduler.prefix_holders import life_tag
from scheduler.reporter import Reporter
from scheduler.settings import SchedulerSettings
from scheduler.view import Delta, PoolView, fold
from simulator.store import VirtualStore
from tests.samples import card, report

SETTINGS = SchedulerSettings()


def read(store: VirtualStore) -> PoolView:
    return fold(PoolView(), Delta.read(store.call(calls.snapshot(PoolKeys("m"), SETTINGS.lease_ms))))[0]


async def test_a_member_that_runs_requests_keeps_the_group_of_a_stalled_one_whole() -> None:
    store = VirtualStore()
    agent = Reporter(store, pool="m", node="n", settings=SETTINGS)
    cards = {name: card(name, dp_group="g") for name in "ab"}
    stalled = report("a", state=RankState.STALLED, running=2)
    await agent.report([stalled, report("b", running=1, waiting=3)], cards)
    view = read(store)
    assert view.broken_groups == set()
    assert {name: rank.seen.running for name, rank in view.ranks.items()} == {"a": 2, "b": 1}
    await agent.report([stalled, report("b", waiting=3)], cards)
    assert read(store).broken_groups == {"g"}


class UnlistedStore(VirtualStore):
    """One that lets nobody write the list of pools."""

    async def command(self, *words: Word) -> Reply:
        if words[:2] == ("SADD", POOLS):
            raise StoreRejectedError("NOPERM")
        return await super().command(*words)


async def test_a_list_of_pools_that_cannot_be_written_is_told_and_keeps_no_rank_from_being_heard() -> None:
    store = UnlistedStore()
    reporter = Reporter(store, pool="m", node="n", settings=SETTINGS)
    for incarnation in ("i1", "i2"):
        with pytest.raises(StoreRejectedError):
            await reporter.report([report("a", incarnation=incarnation)], {"a": card("a", incarnation=incarnation)})
        assert read(store).ranks["a"].card.incarnation == incarnation


async def test_a_list_of_pools_that_cannot_be_written_keeps_no_cache_from_being_calibrated() -> None:
    store = UnlistedStore()
    with pytest.raises(StoreRejectedError):
        await Reporter(store, pool="m", node="n", settings=SETTINGS).report(
            [report("a", computed_tokens=5)], {"a": card("a")}
        )
    (sums,) = PoolKeys("m").believed([life_tag("a", "i1")])
    assert sums.encode() in store.data
