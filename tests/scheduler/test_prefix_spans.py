"""An agent compares what gateways believed of its ranks with what these found, and says how long they hold things."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from scheduler import calls
from scheduler.calls import Call, Reply
from scheduler.errors import SchedulerError, StoreRejectedError, StoreUnavailableError
from scheduler.keys import PoolKeys
from scheduler.lua import Script
from scheduler.prefix_calibration import SHRINK
from scheduler.prefix_holders import life_tag
from scheduler.prefix_spans import REPORTS_TO_ASK
from scheduler.reporter import Reporter
from scheduler.rows import SeenRank
from scheduler.settings import SchedulerSettings
from scheduler.view import Delta, PoolView, fold
from simulator.store import VirtualStore
from tests.samples import card, report

KEYS, CAPACITY = PoolKeys("m"), 1_000
FULL = CAPACITY


class Pool:
    """A store, gateways that say what they believed, and an agent."""

    def __init__(self) -> None:
        self.store = VirtualStore()
        self.agent = self.another_agent()

    def another_agent(self) -> Reporter:
        return Reporter(self.store, pool="m", node="n", settings=SchedulerSettings())

    async def believe(self, rank: str, *tokens: int, incarnation: str = "i1") -> None:
        keys = KEYS.believed([life_tag(rank, incarnation)])
        await self.store.run([calls.prefix_believed(keys, 60_000, tokens)])

    async def hear(self, found: int = 0, computed: int | None = 50_000, incarnation: str = "i1") -> None:
        """Until the agent has asked, and has said what it makes of the answer."""
        cards = {name: card(name, incarnation, kv_capacity_tokens=CAPACITY) for name in "ab"}
        reports = [report(name, incarnation, computed_tokens=computed, found_tokens=found) for name in "ab"]
        for _ in range(REPORTS_TO_ASK + 1):
            await self.agent.report(reports, cards)

    def seen(self, rank: str = "a") -> SeenRank:
        delta = Delta.read(self.store.call(calls.snapshot(KEYS, 2_000)))
        return fold(PoolView(), delta)[0].ranks[rank].seen


async def test_a_rank_that_finds_what_is_believed_keeps_its_span() -> None:
    pool = Pool()
    await pool.hear()
    await pool.believe("a", 200, 200, 200, 200, 200)
    await pool.hear(found=1_000)
    seen = pool.seen()
    assert (seen.cache_span_tokens, seen.believed_tokens, seen.found_tokens) == (FULL, 1_000, 1_000)


async def test_a_rank_that_finds_less_is_believed_to_hold_things_for_less_long() -> None:
    pool = Pool()
    await pool.hear()
    await pool.believe("a", 200, 200, 200, 200, 200)
    await pool.hear(found=200)
    assert pool.seen("a").cache_span_tokens == round(SHRINK * FULL)
    assert pool.seen("b").cache_span_tokens == FULL


async def test_a_rank_that_finds_nothing_is_not_believed_to_hold_anything() -> None:
    pool = Pool()
    await pool.hear()
    await pool.believe("a", 1_000, 0, 0, 0, 0)
    await pool.hear()
    assert pool.seen("a").cache_span_tokens == 0
    await pool.hear(computed=50_300)
    assert pool.seen("a").cache_span_tokens == 300


async def test_a_new_life_begins_with_the_whole_span() -> None:
    pool = Pool()
    await pool.hear()
    await pool.believe("a", 1_000, 0, 0, 0, 0)
    await pool.hear()
    await pool.hear(incarnation="i2")
    seen = pool.seen("a")
    assert (seen.cache_span_tokens, seen.believed_tokens) == (FULL, 0)


async def test_an_agent_that_starts_anew_goes_on_from_the_counts_there_are() -> None:
    pool = Pool()
    await pool.believe("a", 1_000, 0, 0, 0, 0)
    pool.agent = pool.another_agent()
    await pool.hear()
    assert pool.seen("a").cache_span_tokens == FULL


async def test_of_a_rank_without_a_prefix_cache_nothing_is_said() -> None:
    pool = Pool()
    await pool.hear(computed=None)
    assert pool.seen().cache_span_tokens is None
    assert pool.seen().computed_tokens is None
    assert not set(map(str.encode, KEYS.believed([life_tag("a", "i1")]))) & pool.store.data.keys()


@pytest.mark.parametrize("refusal", [StoreRejectedError("no permission"), StoreUnavailableError("gone")])
async def test_a_store_that_does_not_tell_what_was_believed_hears_reports_all_the_same(refusal: SchedulerError) -> None:
    class Refusing(VirtualStore):
        async def run(self, calls: Sequence[Call]) -> list[Reply]:
            if any(call.script is Script.PREFIX_BELIEVED for call in calls):
                raise refusal
            return await super().run(calls)

    pool = Pool()
    pool.store = Refusing()
    pool.agent = pool.another_agent()
    await pool.hear()
    assert (pool.seen().computed_tokens, pool.seen().cache_span_tokens) == (50_000, FULL)
