"""Pairs of prefill and decode ranks, as a gateway's pool places them."""

from __future__ import annotations

from collections import Counter

import pytest

from scheduler.decision import LegKind, Reject
from scheduler.messages import Phase
from scheduler.policies import POLICIES
from tests.polling import until
from tests.scheduler.pool_pairs import TWO_AND_TWO, down, on, pair, pairs_at_work, placed
from tests.scheduler.samples import PAIRABLE, SHAPE


class TestPlacing:
    async def test_a_request_is_prefilled_on_one_rank_and_decoded_on_another(self) -> None:
        async with pairs_at_work(*TWO_AND_TWO) as scene:
            place = await pair(scene)
            assert [leg.kind for leg in place.legs] == [LegKind.PREFILL, LegKind.DECODE]
            assert [leg.card.role.value for leg in place.legs] == ["prefill", "decode"]
            assert (place.alone, place.first_token_s) == (False, 1.0)

    @pytest.mark.parametrize("policy", POLICIES)
    async def test_all_ranks_of_a_pool_are_used(self, policy: str) -> None:
        async with pairs_at_work(*TWO_AND_TWO, policy=policy) as scene:
            used: Counter[str] = Counter()
            for _ in range(24):
                used.update(name for _, name in on(await pair(scene)))
            assert set(used) == set(TWO_AND_TWO)
            if policy != "random":
                assert min(used.values()) >= 8

    @pytest.mark.parametrize("policy", POLICIES)
    async def test_mixed_ranks_beside_them_are_used_too(self, policy: str) -> None:
        async with pairs_at_work("m1", *TWO_AND_TWO, policy=policy) as scene:
            used: Counter[str] = Counter()
            for _ in range(30):
                used.update(name for _, name in on(await pair(scene)))
            assert set(used) == {"m1", *TWO_AND_TWO}

    async def test_a_request_that_cannot_be_split_is_served_by_a_decode_rank(self) -> None:
        async with pairs_at_work(*TWO_AND_TWO) as scene:
            ((kind, rank),) = on(placed(await scene.pool.place(SHAPE)))
            assert (kind, rank[0]) == (LegKind.WHOLE, "d")

    async def test_without_a_prefill_rank_decode_ranks_serve_alone(self) -> None:
        async with pairs_at_work(*TWO_AND_TWO) as scene:
            await down(scene, "p1")
            await down(scene, "p2")
            assert on(await pair(scene))[0][1] in {"d1", "d2"}

    async def test_a_prefill_rank_that_failed_is_avoided_and_then_done_without(self) -> None:
        async with pairs_at_work(*TWO_AND_TWO) as scene:
            for avoid, expected in [({"p1"}, "p2"), ({"p2"}, "p1")]:
                decision = await scene.pool.place(PAIRABLE, avoid=frozenset(avoid))
                assert on(placed(decision))[0] == (LegKind.PREFILL, expected)
            decision = await scene.pool.place(PAIRABLE, avoid=frozenset({"p1", "p2"}))
            assert [kind for kind, _ in on(placed(decision))] == [LegKind.WHOLE]

    async def test_a_receipt_shows_a_decode_rank_as_what_it_could_have_done(self) -> None:
        async with pairs_at_work("p1", "d1") as scene:
            decision = await scene.pool.place(PAIRABLE, receipt_for="r")
            assert {(each.rank, each.kind) for each in placed(decision).receipt} == {
                ("p1", LegKind.PREFILL),
                ("d1", LegKind.DECODE),
                ("d1", LegKind.WHOLE),
            }

    async def test_a_decode_rank_that_waits_for_its_prefill_has_the_request_in_the_ledger_too(self) -> None:
        async with pairs_at_work("p1", "d1") as scene:
            place = await pair(scene)
            scene.pool.decode_waits(place.reservation)
            scene.pool.advance(place.reservation, Phase.DISPATCHED)

            async def both_are_dispatched() -> bool:
                rows = [await scene.wire.store.command("HGET", scene.keys.load, f"{name} i1") for name in ("p1", "d1")]
                return [row.split()[4] for row in rows] == [b"1", b"1"]

            await until(both_are_dispatched, "the ledger knows that both ranks have the request")
            await scene.becomes_exact()
            scene.pool.release(place.reservation)
            scene.pool.decode_waits(place.reservation)
            assert scene.pool.reservations == 0

    async def test_what_is_missing_is_named(self) -> None:
        async with pairs_at_work("p1") as scene:
            decision = await scene.pool.place(PAIRABLE)
            assert isinstance(decision, Reject)
            assert decision.reason == "no decode or mixed rank of m can take a request now"

    async def test_alone_pairs_are_placed_too(self) -> None:
        async with pairs_at_work(*TWO_AND_TWO) as scene:
            scene.wire.is_down = True
            await until(lambda: scene.pool.degraded, "the loss was noticed")
            used: Counter[str] = Counter()
            for _ in range(8):
                place = await pair(scene)
                assert (place.alone, len(place.legs)) == (True, 2)
                used.update(name for _, name in on(place))
            assert used == dict.fromkeys(TWO_AND_TWO, 4)
