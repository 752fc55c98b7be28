"""The loads a placement sees: Lua's formula (scripts/loads.lua) and Python's (scheduler.loads) are one."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.calls import Reply
from scheduler.loads import loads_at
from scheduler.messages import RankState
from scheduler.pending import Question, StoreAnswer
from scheduler.rows import BookLoad, SeenRank
from scheduler.shortlist import cost_on
from tests.contract.conftest import virtual_world
from tests.contract.world import RATE, NumberedGateway, World, sample
from tests.samples import ask, record, single

PRICES: dict[str, Any] = {"per_queued_token_s": 0.001, "per_request_s": 0.25, "per_kv_token_s": 1e-5}


async def receipt(gateway: NumberedGateway, *names: str, reservation: int = 900) -> list[Any]:
    """The loads a placement on these ranks sees, one row each; nothing stays reserved."""
    reply = await gateway.place(ask(*(single(name, **PRICES) for name in names), explain=True), reservation)
    assert reply[0] == b"place"
    await gateway.release(reservation)
    rows: list[Any] = json.loads(reply[4])
    return rows


def expected_row(book: BookLoad, seen: SeenRank, now_ms: int) -> list[float]:
    loads = loads_at(book, seen, now_ms)
    cost_s = cost_on(single("a", **PRICES), loads)
    return [loads.queued_tokens, loads.requests, loads.kv_tokens, now_ms - seen.sampled_ms, cost_s]


class TestFormula:
    """On each store, on rows that the scripts themselves wrote."""

    async def test_a_receipt_is_the_python_formula_on_the_snapshot(
        self, world: World, gateway: NumberedGateway
    ) -> None:
        names = ["a", "b", "c", "d"]
        await world.report(
            sample("a"), sample("b", requests=3, kv_tokens=700), sample("c", age_ms=1), sample("d", rate=33.3)
        )
        await gateway.advance({1: record(0, "m a"), 2: record(1, "m a"), 3: record(3, "m b"), 4: record(1, "m d")})
        await world.passes(4_321)
        await gateway.advance({5: record(2, "p c", "d b"), 6: record(0, "m d")})
        await world.passes(77)
        view = await world.view()
        for name, row in zip(names, await receipt(gateway, *names), strict=True):
            rank = view.ranks[name]
            expected = expected_row(rank.book, rank.seen, rank.seen.sampled_ms + row[3])
            assert row == pytest.approx(expected, rel=1e-9)

    async def test_a_receipt_has_a_gap_where_a_rank_cannot_be_placed_on(
        self, world: World, gateway: NumberedGateway
    ) -> None:
        await world.report(sample("a"), sample("b", state="down"))
        row, gap, unknown = await receipt(gateway, "a", "b", "c")
        assert (len(row), gap, unknown) == (5, False, False)

    async def test_a_row_beyond_all_numbers_costs_the_receipt_and_not_the_placement(
        self, world: World, gateway: NumberedGateway
    ) -> None:
        await world.report(sample("a"), sample("b"))
        await world.store.command("HSET", world.keys.load, "b i1", f"{'9' * 400} 0 0 0 0 0 0 0")
        reply = await gateway.place(ask(single("a", **PRICES), single("b", **PRICES), explain=True))
        assert [reply[0], *reply[2:4]] == [b"place", 1, 0]
        answer = StoreAnswer.read(Question(1, ask(single("a"), single("b"))), reply)
        assert (answer.legs, answer.receipt) == ((1,), ())

    async def test_an_explained_refusal_shows_what_it_was_made_on(self, world: World, gateway: NumberedGateway) -> None:
        await world.report(sample("a", state="down"))
        ms = await world.pool_ms()
        verdict, _, _, _, loads, (rows_ms, *rows) = await gateway.place(ask(single("a"), single("b"), explain=True))
        assert (verdict, json.loads(loads)) == (b"reject", [False, False])
        assert ms <= int(rows_ms) <= ms + 400
        assert rows[:1] + rows[2:] == [b"", b"", b"", b"", b""]
        assert rows[1].startswith(b"i1 down ")

    async def test_the_rows_are_those_before_the_placement_with_the_sums_of_a_group_that_has_a_price(
        self, world: World, gateway: NumberedGateway
    ) -> None:
        await world.report(sample("a"))
        await gateway.advance({1: record(1, "m a i1 g", tokens=2_000)})
        told = ask(single("a", group="g", per_group_request_s=1.0), explain=True)
        _, load, seen, sums = (await gateway.place(told))[5]
        assert load.split()[:2] == [b"2000", b"1"]
        assert seen.startswith(b"i1 up 0 ")
        assert sums == b"2000 1 2010"

    async def test_there_is_no_receipt_unless_asked_for(self, world: World, gateway: NumberedGateway) -> None:
        await world.report(sample("a"))
        assert (await gateway.place(ask(single("a"))))[4] == b""

    @pytest.mark.parametrize(
        ("elapsed_ms", "queued_tokens", "slack"),
        [
            pytest.param(0, 4_000, 400, id="none yet"),
            pytest.param(900, 3_100, 400, id="by its rate"),
            pytest.param(1_800, 2_200, 200, id="nearly all of it"),
            pytest.param(5_000, 2_000, 0, id="no more than the running prompt's own tokens"),
        ],
    )
    async def test_the_running_prompt_s_progress_is_credited(
        self, world: World, gateway: NumberedGateway, elapsed_ms: int, queued_tokens: float, slack: float
    ) -> None:
        await world.report(sample("a"))
        await gateway.advance({each: record(1, "m a", tokens=2_000) for each in (1, 2)})
        await world.passes(elapsed_ms)
        assert (await receipt(gateway, "a"))[0][0] == pytest.approx(queued_tokens, abs=slack)

    async def test_a_finished_prefill_ends_the_credit_for_the_next(
        self, world: World, gateway: NumberedGateway
    ) -> None:
        await world.report(sample("a"))
        await gateway.advance({each: record(1, "m a", tokens=2_000) for each in (1, 2)})
        await world.passes(1_900)
        await gateway.advance({1: record(2, "m a", tokens=2_000)})
        assert (await receipt(gateway, "a"))[0][0] == pytest.approx(2_000, abs=RATE * 0.4)

    async def test_a_prompt_given_back_takes_no_credit_from_the_running_one(
        self, world: World, gateway: NumberedGateway
    ) -> None:
        await world.report(sample("a"))
        await gateway.advance({each: record(1, "m a", tokens=2_000) for each in (1, 2)})
        await world.passes(1_400)
        await gateway.release(2)
        assert (await receipt(gateway, "a"))[0][0] == pytest.approx(600, abs=RATE * 0.4)

    async def test_a_resync_takes_no_credit_from_the_running_prompt(
        self, world: World, gateway: NumberedGateway
    ) -> None:
        held = {each: record(1, "m a", tokens=2_000) for each in (1, 2)}
        await world.report(sample("a"))
        await gateway.advance(held)
        await world.passes(1_400)
        anew = NumberedGateway(world, "g.2")
        await anew.join(held, former=[gateway.name])
        assert (await receipt(anew, "a"))[0][0] == pytest.approx(2_600, abs=RATE * 0.4)

    @pytest.mark.parametrize(
        ("age_ms", "share"),
        [
            pytest.param(0, 1.0, id="fresh"),
            pytest.param(1_500, 1.0, id="still fresh"),
            pytest.param(6_000, 0.5, id="half faded"),
            pytest.param(9_000, 0.125, id="nearly forgotten"),
            pytest.param(11_000, 0.0, id="forgotten"),
            pytest.param(3_600_000, 0.0, id="long forgotten"),
        ],
    )
    async def test_what_the_engine_said_fades_with_age(
        self, world: World, gateway: NumberedGateway, age_ms: int, share: float
    ) -> None:
        await world.report(sample("a", requests=80, kv_tokens=8_000))
        await gateway.advance({1: record(1, "m a")})
        await world.passes(age_ms)
        _, requests, kv_tokens, age, _ = (await receipt(gateway, "a"))[0]
        slack = 0.05 * bool(0 < share < 1)
        assert age_ms <= age <= age_ms + 400
        assert requests == pytest.approx(1 + share * 80, abs=80 * slack)
        assert kv_tokens == pytest.approx(110 + share * 8_000, abs=8_000 * slack)


counts = st.integers(0, 10**6)
tokens = st.integers(0, 10**9)
NOW_MS = 10**7

books = st.builds(
    BookLoad,
    queued_tokens=tokens,
    prompts=counts,
    progress_since_ms=st.integers(0, NOW_MS),
    requests=counts,
    dispatched=counts,
    unseen_kv_tokens=tokens,
    engine_kv_tokens=tokens,
    growth_tokens=tokens,
)
seens = st.builds(
    SeenRank,
    incarnation=st.just("i1"),
    state=st.just(RankState.UP),
    drained=st.just(False),
    sampled_ms=st.integers(NOW_MS - 12_000, NOW_MS),
    foreign_requests=counts,
    foreign_kv_tokens=st.integers(-(10**9), 10**9),
    prefill_tokens_per_s=st.floats(1e-3, 1e7),
    owner=st.just("n/1"),
)


@settings(max_examples=300, deadline=None)
@given(book=books, seen=seens)
async def test_both_formulas_agree_on_any_row(book: BookLoad, seen: SeenRank) -> None:
    now_ms = NOW_MS
    reply = await place_on(book, seen, now_ms)
    (row,) = json.loads(reply[4])
    assert row == pytest.approx(expected_row(book, seen, now_ms), rel=1e-9, abs=1e-6)


async def place_on(book: BookLoad, seen: SeenRank, now_ms: int) -> Reply:
    """A placement at a pool time on one rank whose rows are these."""
    world = virtual_world()
    keys, store = world.keys, world.store
    await world.begin()
    await store.command("SET", keys.head, f"e1 1700000000000 {now_ms} 1")
    fields = (book.queued_tokens, book.prompts, book.progress_since_ms, book.requests, book.dispatched)
    more = (book.unseen_kv_tokens, book.engine_kv_tokens, book.growth_tokens)
    await store.command("HSET", keys.load, "a i1", " ".join(map(str, (*fields, *more))))
    said = f"{seen.sampled_ms} {seen.foreign_requests} {seen.foreign_kv_tokens} {seen.prefill_tokens_per_s!r}"
    await store.command("HSET", keys.seen, "a", f"i1 up 0 {said} n/1 0 1 ")
    gateway = NumberedGateway(world)
    await gateway.join()
    return await gateway.place(ask(single("a", **PRICES), explain=True))
