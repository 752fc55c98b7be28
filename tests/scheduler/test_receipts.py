"""The receipts of a pool at work: kept off every request's way, found by the request's id, and true."""

from __future__ import annotations

import asyncio
import zlib
from functools import partial

import msgspec
import pytest

from forebay.explain import explain
from scheduler import calls
from scheduler.decision import Place
from scheduler.errors import NoReceiptError, StoreRejectedError
from scheduler.keys import POOLS, PoolKeys
from scheduler.loads import Loads
from scheduler.lua import Script
from scheduler.messages import Phase
from scheduler.receipt import RECEIPT_VERSION, Verdict, read, write
from scheduler.receipt_check import check
from scheduler.receipt_search import Findings, FoundReceipt, find
from scheduler.receipts import MOST_UNWRITTEN
from simulator.store import VirtualStore
from tests.polling import until
from tests.scheduler.pool_pairs import pairs_at_work, placed
from tests.scheduler.samples import PAIRABLE, SHAPE
from tests.scheduler.scene import HASTY, SETTINGS, Scene, at_work


async def found(scene: Scene, request: str, count: int = 1) -> list[FoundReceipt]:
    """All receipts of a request, as soon as there are so many; every one comes out again."""

    async def written() -> bool:
        return scene.pool.counters["receipts"] >= count

    await until(written, "the receipts are written")
    findings = await find(scene.wire.store, request, SETTINGS)
    assert findings.unreadable == ()
    for each in findings.receipts:
        assert await check(each, request, VirtualStore) == []
    return list(findings.receipts)


async def test_a_placement_is_found_by_the_request_s_id() -> None:
    async with at_work("a", "b", "c") as scene:
        place = await scene.pool.place(SHAPE, receipt_for="req-1")
        (one,) = await found(scene, "req-1")
    assert isinstance(place, Place)
    receipt = one.receipt
    assert one.intact
    assert [each.rank for each in receipt.chosen] == [leg.card.rank for leg in place.legs]
    assert (receipt.reservation, receipt.cost_s, receipt.loads) == (place.reservation, place.cost_s, place.receipt)
    assert (receipt.gateway, receipt.pool, receipt.policy) == ("g@host:1", "m", "least_requests")
    assert {each.rank for each in receipt.known} == {"a", "b", "c"}
    assert receipt.is_whole


async def test_a_placement_instead_of_one_that_failed_saw_nothing_of_it_and_comes_out_again() -> None:
    async with at_work("a", "b") as scene:
        failed = (await scene.place(2))[0]
        place = await scene.pool.place(SHAPE, receipt_for="req-1", instead_of=failed.reservation)
        assert isinstance(place, Place)
        (one,) = await found(scene, "req-1")
    loads = {each.rank: each.requests for each in one.receipt.loads}
    assert loads == {"a": 1, "b": 1} | {failed.legs[0].card.rank: 0}


async def test_nothing_of_a_prompt_is_in_a_receipt() -> None:
    shape = msgspec.structs.replace(SHAPE, prompt_key="secret-key", blocks=(b"secret-block",), block_tokens=500.0)
    async with at_work("a", policy="forebay") as scene:
        await scene.pool.place(shape, receipt_for="req-1")
        (one,) = await found(scene, "req-1")
    assert (one.receipt.shape.prompt_key, one.receipt.shape.blocks) == ("", ())
    assert b"secret" not in msgspec.json.encode(one.receipt)
    assert (one.receipt.shape.prompt_tokens, one.receipt.shape.output_tokens) == (1_000, 100)


async def test_no_receipt_is_kept_unless_asked_for() -> None:
    async with at_work("a") as scene:
        await scene.place(5)
        await scene.pool.place(SHAPE, receipt_for="other")
        await found(scene, "other")
        with pytest.raises(NoReceiptError, match=r"'req-1'.*--receipt-share.*x-forebay-explain.*x-request-id"):
            await find(scene.wire.store, "req-1", SETTINGS)


async def test_a_pair_and_its_rebinding_are_told_in_order() -> None:
    async with pairs_at_work("p1", "p2", "d1", "d2") as scene:
        place = placed(await scene.pool.place(PAIRABLE, receipt_for="req-1"))
        leg = await scene.pool.rebind(place.reservation, receipt_for="req-1")
        first, second = await found(scene, "req-1", 2)
    assert leg is not None
    assert first.receipt.held is None
    assert [each.rank for each in first.receipt.chosen] == [each.card.rank for each in place.legs]
    assert second.receipt.held is not None
    assert [each.rank for each in second.receipt.chosen] == [leg.card.rank]


async def test_a_placement_beside_answers_that_are_under_way_comes_out_again() -> None:
    """What it would hold up is priced."""
    async with at_work("a", "b", policy="forebay") as scene:
        for place in await scene.place(3):
            scene.pool.advance(place.reservation, Phase.FIRST_TOKEN)
        await until(lambda: any(each.book.growth_tokens for each in scene.pool.view.ranks.values()), "it is known")
        await scene.pool.place(SHAPE, receipt_for="req-1")
        (one,) = await found(scene, "req-1")
    assert any(each.book.dispatched for each in one.receipt.known)


async def test_a_refusal_has_a_receipt_too() -> None:
    async with at_work("a") as scene:
        await scene.wire.store.command("HDEL", scene.keys.seen, "a")
        await scene.pool.place(SHAPE, receipt_for="req-1")
        receipts = await found(scene, "req-1")
    assert receipts[0].receipt.verdict is Verdict.REJECT
    assert receipts[0].receipt.loads == ()


async def test_what_was_decided_while_the_store_was_gone_is_told_when_it_is_back() -> None:
    async with pairs_at_work("p1", "d1", "d2") as scene:
        scene.wire.is_down = True
        await until(lambda: scene.pool.degraded, "the store is missed")
        place = placed(await scene.pool.place(PAIRABLE, receipt_for="req-1"))
        await scene.pool.rebind(place.reservation, receipt_for="req-1")
        scene.wire.is_down = False
        first, second = await found(scene, "req-1", 2)
    assert place.alone
    assert first.receipt.alone
    assert second.receipt.alone
    assert set(first.receipt.believed) == {"p1", "d1", "d2"}


async def test_a_store_that_takes_no_receipts_hurts_no_request() -> None:
    async with at_work("a", "b") as scene:
        scene.wire.refused = frozenset({Script.RECEIPT_ADD})
        scene.wire.refusal = StoreRejectedError("OOM")
        places = [await scene.pool.place(SHAPE, receipt_for=f"req-{number}") for number in range(5)]
        await until(lambda: scene.pool.counters["receipts_lost"] == 5, "they are given up")
    assert all(isinstance(place, Place) and not place.alone for place in places)
    assert scene.pool.counters["receipts"] == 0


async def test_a_receipt_that_was_written_twice_is_shown_once() -> None:
    async with at_work("a") as scene:
        await scene.pool.place(SHAPE, receipt_for="req-1")
        scene.wire.replies_to_lose = 1
        await until(lambda: scene.wire.replies_to_lose == 0, "a reply was lost")
        assert len(await found(scene, "req-1")) == 1
        await until(lambda: not scene.pool.degraded, "the pool has joined again")
        await scene.pool.place(SHAPE, receipt_for="req-2")
        scene.wire.replies_to_lose = 3
        await until(lambda: scene.wire.replies_to_lose == 0, "replies were lost")
        assert len(await found(scene, "req-2", 2)) == 1


async def test_the_oldest_are_forgotten_while_the_store_is_gone() -> None:
    async with at_work("a", settings=HASTY) as scene:
        scene.wire.is_down = True
        await until(lambda: scene.pool.degraded, "the store is missed")
        for number in range(MOST_UNWRITTEN + 3):
            await scene.pool.place(SHAPE, receipt_for=f"req-{number}")
        assert scene.pool.counters["receipts_lost"] >= 3
        assert scene.pool.counters["receipts"] == 0


async def test_a_gateway_that_ends_leaves_its_receipts_behind() -> None:
    async with at_work("a") as scene:
        await asyncio.gather(*(scene.pool.place(SHAPE, receipt_for=f"req-{number}") for number in range(25)))
    assert (await find(scene.wire.store, "req-24", SETTINGS)).receipts[0].receipt.request == "req-24"
    assert scene.pool.counters["receipts"] == 25


async def test_what_is_no_receipt_is_skipped_and_named() -> None:
    async with at_work("a") as scene:
        await scene.pool.place(SHAPE, receipt_for="req-1")
        (one,) = await found(scene, "req-1")
        good = write(one.receipt)
        newer = write(msgspec.structs.replace(one.receipt, v=RECEIPT_VERSION + 1))
        add = partial(calls.receipt_add, scene.keys, 100)
        older = zlib.compress(b'{"v":1,"request":"req-1"}')
        junk = [b"", b"junk", good.packed[:-9], newer.packed, older, good.packed + b"more"]
        await scene.wire.store.run([add([("req-1", good.digest, packed)]) for packed in junk])
        findings: Findings = await find(scene.wire.store, "req-1", SETTINGS)
    assert len(findings.receipts) + len(findings.unreadable) == 7
    assert len(findings.unreadable) >= 5
    for other in (1, 3):
        assert f"version {other}; this release reads 2" in " ".join(findings.unreadable)


async def test_a_pool_whose_receipts_cannot_be_read_is_named() -> None:
    async with at_work("a") as scene:
        await scene.wire.store.command("SET", scene.keys.receipts, "no stream")
        with pytest.raises(NoReceiptError, match=r"no receipt of 'req-1'.*; pool m cannot be read: .*WRONGTYPE"):
            await find(scene.wire.store, "req-1", SETTINGS)


async def test_what_may_be_anybody_s_is_named_and_spoils_no_receipt_that_is_known() -> None:
    async with at_work("a") as scene:
        await scene.pool.place(SHAPE, receipt_for="req-1")
        await found(scene, "req-1")
        store = scene.wire.store
        await store.command("SADD", POOLS, "other")
        await store.command("SET", PoolKeys("other").receipts, "no stream")
        for _ in range(2):
            await store.command("XADD", scene.keys.receipts, "MAXLEN", "~", "100", "*", "what", "ever")
        explanation = await explain(store, "req-1", SETTINGS)
        assert explanation.strange[0] == "pool m: entries without a request's id among its receipts: 2"
        assert explanation.strange[1].startswith("pool other cannot be read: Redis answered: WRONGTYPE")
        assert (explanation.unreadable, explanation.fits) == ((), True)


@pytest.mark.parametrize("damage", ["junk", "another version", "an unknown verdict"])
async def test_a_request_of_which_one_receipt_is_damaged_is_not_explained(damage: str) -> None:
    async with at_work("a") as scene:
        await scene.pool.place(SHAPE, receipt_for="req-1")
        (one,) = await found(scene, "req-1")
        plain = msgspec.json.encode(one.receipt)
        verdict = plain.replace(b'"verdict":"place"', b'"verdict":"perhaps"')
        assert verdict != plain
        damaged = {
            "junk": b"junk",
            "another version": write(msgspec.structs.replace(one.receipt, v=RECEIPT_VERSION + 1)).packed,
            "an unknown verdict": zlib.compress(verdict),
        }
        await scene.wire.store.run([calls.receipt_add(scene.keys, 100, [("req-1", "", damaged[damage])])])
        explanation = await explain(scene.wire.store, "req-1", SETTINGS)
    assert [each.misfits for each in explanation.judged] == [()]
    assert len(explanation.unreadable) == 1
    assert not explanation.fits


async def test_a_key_of_the_wrong_type_costs_receipts_and_is_replaced() -> None:
    async with at_work("a") as scene:
        await scene.wire.store.command("SET", scene.keys.receipts, "no stream")
        await scene.pool.place(SHAPE, receipt_for="req-1")
        await until(lambda: scene.pool.counters["receipts_lost"] == 1, "it is lost")
        await scene.pool.place(SHAPE, receipt_for="req-2")
        assert len(await found(scene, "req-2")) == 1
        assert not scene.pool.degraded


async def test_a_receipt_of_another_request_or_pool_does_not_pass_for_this_one() -> None:
    async with at_work("a") as scene:
        await scene.pool.place(SHAPE, receipt_for="req-1")
        (one,) = await found(scene, "req-1")
    moved = one._replace(pool="other")
    assert [each.field for each in await check(moved, "req-2", VirtualStore)] == ["request", "pool"]


async def test_senseless_receipts_are_no_decision_and_no_crash() -> None:
    async with at_work("a", "b", policy="least_work") as scene:
        await scene.pool.place(SHAPE, receipt_for="req-1")
        (one,) = await found(scene, "req-1")
    receipt = one.receipt
    stopped = tuple(msgspec.structs.replace(each, prefill_tokens_per_s=0.0) for each in receipt.known)
    unread = tuple(msgspec.structs.replace(each, seen="junk") for each in receipt.rows)
    nowhere = msgspec.structs.replace(receipt.ask, singles=())
    for change in (
        {"known": stopped},
        {"rows": unread},
        {"ask": nowhere},
        {"rows": ()},
        {"policy": "magic"},
        {"legs": (9,)},
    ):
        changed = write(msgspec.structs.replace(receipt, **change))
        again = one._replace(receipt=read(changed.packed, changed.digest)[0])
        assert await check(again, "req-1", VirtualStore) != [], change


async def test_a_change_of_what_was_decided_alone_is_named() -> None:
    async with at_work("a", "b", policy="least_work") as scene:
        scene.wire.is_down = True
        await until(lambda: scene.pool.degraded, "the store is missed")
        await scene.pool.place(SHAPE, receipt_for="req-1")
        scene.wire.is_down = False
        (one,) = await found(scene, "req-1")
    receipt = one.receipt
    busier = {rank: Loads(loads.queued_tokens + 50, 1.0, 1.0) for rank, loads in receipt.believed.items()}
    changes = {"legs": (3 - receipt.legs[0],), "believed": busier, "cost_s": 1.0, "verdict": Verdict.REJECT}
    for field, value in changes.items():
        changed = one._replace(receipt=msgspec.structs.replace(receipt, **{field: value}))
        fields = [each.field for each in await check(changed, "req-1", VirtualStore)]
        assert any(each.startswith("loads" if field == "believed" else field) for each in fields), (field, fields)
