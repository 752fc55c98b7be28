"""report: what an agent says adds to the ledger's view and never erases from it."""

from __future__ import annotations

import pytest

from scheduler.messages import RankState
from scheduler.reporter import CLAIM_MS
from tests.contract.world import AGENT, LEASE_MS, NumberedGateway, Told, World, sample
from tests.samples import ask, record, single

RIVAL = "node-2/0b"
FINE = Told({}, [], [])


async def foreign(world: World, rank: str = "a") -> int:
    """Requests in the engine that the ledger does not know of, as last reported."""
    return (await world.view()).ranks[rank].seen.foreign_requests


async def kv_tokens(world: World, rank: str = "a") -> float:
    view = await world.view()
    return view.ranks[rank].loads(view.pool_ms).kv_tokens


class TestWhoReports:
    async def test_a_rank_is_in_the_pool_once_it_is_reported_with_its_card(self, world: World) -> None:
        assert await world.report(sample("a", rate=1_234.5)) == FINE
        rank = (await world.view()).ranks["a"]
        assert (rank.card.rank, rank.state, rank.drained) == ("a", RankState.UP, False)
        assert (rank.seen.prefill_tokens_per_s, rank.seen.owner) == (1_234.5, AGENT)

    async def test_a_card_is_asked_for_where_it_is_missing(self, world: World) -> None:
        assert await world.report(sample("a", with_card=False), sample("b")) == Told({}, ["a"], [])
        assert set((await world.view()).ranks) == {"b"}

    async def test_a_known_life_needs_no_card_again(self, world: World) -> None:
        await world.report(sample("a"))
        assert await world.report(sample("a", requests=4, with_card=False)) == FINE
        assert await foreign(world) == 0

    async def test_a_new_life_needs_its_own_card(self, world: World) -> None:
        await world.report(sample("a"))
        assert await world.report(sample("a", "i2", with_card=False)) == Told({}, ["a"], [])
        assert (await world.view()).ranks["a"].card.incarnation == "i1"
        await world.report(sample("a", "i2"))
        assert (await world.view()).ranks["a"].card.incarnation == "i2"

    async def test_another_agent_is_refused_a_claimed_rank_and_told_by_whom(self, world: World) -> None:
        await world.report(sample("a", requests=1))
        told = await world.report(sample("a", requests=7), sample("b"), owner=RIVAL)
        assert told == Told({"a": AGENT}, [], [])
        view = await world.view()
        assert (view.ranks["a"].seen.owner, view.ranks["a"].seen.foreign_requests) == (AGENT, 1)
        assert view.ranks["b"].seen.owner == RIVAL

    async def test_another_agent_cannot_remove_a_claimed_rank(self, world: World) -> None:
        await world.report(sample("a"))
        assert await world.report(sample("a", state="gone"), owner=RIVAL) == Told({"a": AGENT}, [], [])
        assert set((await world.view()).ranks) == {"a"}

    async def test_a_claim_ends_when_its_agent_has_been_silent(self, world: World) -> None:
        await world.report(sample("a"))
        await world.passes(CLAIM_MS - 1_000)
        assert await world.report(sample("a"), owner=RIVAL) == Told({"a": AGENT}, [], [])
        await world.passes(2_000)
        assert await world.report(sample("a"), owner=RIVAL) == FINE
        assert await world.report(sample("a")) == Told({"a": RIVAL}, [], [])

    async def test_a_rank_that_is_gone_leaves_the_pool_and_may_be_claimed_anew(self, world: World) -> None:
        await world.report(sample("a"), sample("b"))
        assert await world.report(sample("a", state="gone", with_card=False)) == FINE
        assert set((await world.view()).ranks) == {"b"}
        assert await world.store.command("HGET", world.keys.card, "a") is None
        assert await world.report(sample("a"), owner=RIVAL) == FINE

    async def test_a_report_names_gateways_whose_lease_has_ended(self, world: World, gateway: NumberedGateway) -> None:
        await world.passes(LEASE_MS + 500)
        assert await world.report() == Told({}, [], [gateway.name])


class TestForeignRequests:
    """Foreign = max(0, least over 2 s of (engine count - entries the ledger had dispatched at the sample's time))."""

    async def test_requests_the_ledger_does_not_know_are_foreign(self, world: World) -> None:
        await world.report(sample("a", requests=5))
        assert await foreign(world) == 5

    async def test_requests_the_ledger_dispatched_are_not_foreign(self, world: World, gateway: NumberedGateway) -> None:
        await world.report(sample("a"))
        await gateway.advance({each: record(1, "m a") for each in (1, 2)})
        await world.passes(LEASE_MS + 500)
        await world.report(sample("a", requests=5))
        assert await foreign(world) == 3

    async def test_placed_requests_are_not_in_the_engine_yet(self, world: World, gateway: NumberedGateway) -> None:
        await world.report(sample("a"))
        await gateway.place(ask(single("a")))
        await world.passes(2_500)
        await world.report(sample("a", requests=5))
        assert await foreign(world) == 5

    async def test_a_late_sample_is_compared_with_the_ledger_of_its_time(
        self, world: World, gateway: NumberedGateway
    ) -> None:
        await world.report(sample("a"))
        await world.passes(3_000)
        await gateway.advance({1: record(1, "m a")})
        await world.passes(2_500)
        await gateway.advance({2: record(1, "m a"), 3: record(1, "m a")})
        await world.passes(300)
        await world.report(sample("a", requests=4, age_ms=1_000))
        assert await foreign(world) == 3, "one of the four had been dispatched then"

    @pytest.mark.parametrize(
        ("counts", "gap_ms", "expected"),
        [
            pytest.param((5, 9), 1_000, 5, id="a rise waits for the window to pass"),
            pytest.param((5, 9, 9), 1_200, 9, id="a rise holds after the window"),
            pytest.param((9, 5), 100, 5, id="a fall counts at once"),
            pytest.param((9, 2, 6, 7), 500, 2, id="the least of the window counts"),
            pytest.param((2, 6, 4, 9), 900, 4, id="what left the window does not"),
        ],
    )
    async def test_the_least_of_the_last_two_seconds_counts(
        self, world: World, counts: tuple[int, ...], gap_ms: int, expected: int
    ) -> None:
        for count in counts:
            await world.passes(gap_ms)
            await world.report(sample("a", requests=count))
        assert await foreign(world) == expected

    async def test_foreign_is_never_negative(self, world: World, gateway: NumberedGateway) -> None:
        """Requests take a while to reach the engine."""
        await world.report(sample("a"))
        await gateway.advance({each: record(1, "m a") for each in (1, 2, 3)})
        await world.passes(300)
        await world.report(sample("a", requests=1))
        assert await foreign(world) == 0

    async def test_a_new_life_forgets_what_the_old_one_counted(self, world: World) -> None:
        await world.report(sample("a", requests=2))
        await world.report(sample("a", "i2", requests=9))
        assert await foreign(world) == 9


class TestForeignKv:
    async def test_the_engine_s_tokens_are_the_base(self, world: World) -> None:
        await world.report(sample("a", kv_tokens=5_000))
        assert await kv_tokens(world) == pytest.approx(5_000)

    async def test_tokens_of_our_own_streams_are_counted_once(self, world: World, gateway: NumberedGateway) -> None:
        await world.report(sample("a", kv_tokens=5_000))
        await gateway.advance({1: record(3, "m a")})
        before = await kv_tokens(world)
        await world.passes(100)
        await world.report(sample("a", kv_tokens=5_100))
        assert before == await kv_tokens(world) == pytest.approx(5_105)

    async def test_a_report_erases_nothing_that_is_not_in_the_engine(
        self, world: World, gateway: NumberedGateway
    ) -> None:
        await world.report(sample("a"))
        await gateway.advance({1: record(1, "m a")})
        await world.passes(100)
        await world.report(sample("a", requests=0, kv_tokens=0))
        assert await kv_tokens(world) == pytest.approx(110)
        assert await world.load_row("a") == [100, 1, 1, 1, 110, 0, 0]

    async def test_an_engine_that_counts_less_than_we_do_corrects_us_down(
        self, world: World, gateway: NumberedGateway
    ) -> None:
        """Blocks that requests share are counted once by the engine."""
        await world.report(sample("a"))
        await gateway.advance({each: record(3, "m a") for each in (1, 2)})
        await world.passes(100)
        await world.report(sample("a", kv_tokens=120))
        assert await kv_tokens(world) == pytest.approx(130)

    async def test_kv_is_never_negative(self, world: World, gateway: NumberedGateway) -> None:
        await world.report(sample("a"))
        await gateway.advance({1: record(3, "m a")})
        await world.passes(100)
        await world.report(sample("a", kv_tokens=0))
        await gateway.release(1)
        assert await kv_tokens(world) == 0


class TestRestart:
    async def test_a_restarted_rank_starts_clean(self, world: World, gateway: NumberedGateway) -> None:
        await world.report(sample("a", requests=5, kv_tokens=900))
        await gateway.advance({1: record(1, "m a")})
        await world.report(sample("a", "i2"))
        rank = (await world.view()).ranks["a"]
        assert (rank.book.requests, rank.seen.foreign_requests, rank.seen.foreign_kv_tokens) == (0, 0, 0)

    async def test_an_old_life_s_page_goes_with_its_last_reservation(
        self, world: World, gateway: NumberedGateway
    ) -> None:
        await world.report(sample("a"))
        await gateway.advance({1: record(1, "m a"), 2: record(3, "m a")})
        await world.report(sample("a", "i2"))
        await gateway.release(1)
        assert await world.load_row("a") is not None
        await gateway.release(2)
        assert await world.load_row("a") is None
        assert await world.store.command("HKEYS", world.keys.hist) == []

    async def test_a_rank_that_left_leaves_nothing_behind(self, world: World, gateway: NumberedGateway) -> None:
        await world.report(sample("a"))
        await gateway.advance({1: record(1, "m a")})
        await world.report(sample("a", state="gone"))
        await gateway.release(1)
        for key in (world.keys.load, world.keys.hist, world.keys.seen, world.keys.card):
            assert await world.store.command("HKEYS", key) == []

    async def test_an_idle_old_life_leaves_with_the_report_of_the_new(
        self, world: World, gateway: NumberedGateway
    ) -> None:
        await world.report(sample("a"))
        await gateway.place(ask(single("a")))
        await gateway.release(1)
        await world.report(sample("a", "i2"))
        assert await world.load_row("a") is None


async def test_a_sample_older_than_the_history_is_compared_with_the_oldest_that_is_known(
    world: World, gateway: NumberedGateway
) -> None:
    """The history of a busy rank is cut at 2 KiB, in the middle of an entry."""
    await world.report(sample("a"))
    tokens, sums = 0, {0}
    for each in range(1, 130):
        await gateway.advance({each: f"3 0 {1_000_003 + each} 0 m a i1 -"})
        tokens += 1_000_003 + each
        sums.add(tokens)
        await world.passes(25)
        if each > 100:
            await world.report(sample("a", age_ms=60_000, with_card=False))
            assert -(await world.view()).ranks["a"].seen.foreign_kv_tokens in sums
