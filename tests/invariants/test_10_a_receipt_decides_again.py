"""Invariant 10: a kept receipt decides again to the same answer, and is found by its request while it is kept.

The scripts that recompute a receipt are the true ones, also where those that decided are mutated.
"""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from scheduler import calls
from scheduler.calls import Reply
from scheduler.decision import Ask, LegKind, RequestShape
from scheduler.keys import POOLS
from scheduler.pending import Question, StoreAnswer
from scheduler.receipt import RankRows, Receipt, Verdict, WrittenReceipt, write
from scheduler.receipt_making import answered
from scheduler.receipt_rerun import rerun
from scheduler.receipt_search import PIECE, find
from scheduler.reservation import Reservation, reserve
from scheduler.settings import SchedulerSettings
from simulator.store import VirtualStore
from tests.invariants.asks import ask, record
from tests.invariants.lossy_pool import POOL, LossyPool, Sample
from tests.invariants.raw_gateway import RawGateway
from tests.samples import leg, single

PRICES: dict[str, Any] = {"per_queued_token_s": 0.001, "per_request_s": 0.25, "per_kv_token_s": 1e-5}
GROUP_PRICES: dict[str, Any] = {
    "per_group_queued_token_s": 0.002,
    "per_group_request_s": 0.5,
    "per_group_kv_token_s": 3e-5,
}
KEPT = 500
SHAPE = RequestShape(prompt_tokens=100, output_tokens=11, prompt_key="")


class Decided:
    """A pool with two ranks whose rows, and whose groups' sums, all differ."""

    def __init__(self, pool: LossyPool) -> None:
        self.pool = pool
        pool.report(Sample("r0", age_ms=90, requests=3, kv_tokens=700), Sample("r1", rate=33.0))
        self.gateway = RawGateway(pool, "a").join()
        for phase, legs in ((0, "m r0 i1 g"), (1, "m r0 i1 g"), (3, "m r1 i1 h"), (1, "m r1 i1 h")):
            self.gateway.adopt(record(phase, legs, tokens=1_000 + phase))
        pool.store.now_ms += 137

    def place(self, asked: Ask) -> Receipt:
        explained = msgspec.structs.replace(asked, explain=True)
        return _receipt(explained, self.gateway.place(explained))

    def rebind(self, reservation: int, held: Reservation, asked: Ask) -> Receipt:
        explained = msgspec.structs.replace(asked, explain=True)
        return _receipt(explained, self.gateway.rebind(reservation, explained), reservation, held)


def _receipt(asked: Ask, reply: Reply, reservation: int = 7, held: Reservation | None = None) -> Receipt:
    """What a gateway keeps of an answer; of a plan there is nothing in it."""
    outcome = answered(StoreAnswer.read(Question(reservation, asked, held), reply))
    return Receipt(
        request="req-1",
        pool=POOL,
        gateway="a",
        policy="least_work",
        rules="",
        connectors=(),
        shape=SHAPE,
        avoid=(),
        turn=0,
        seed=0,
        epoch="",
        version=0,
        snapshot_ms=0,
        pool_ms=0.0,
        eligible=2,
        priced=2,
        least_queue_s=0.0,
        known=(),
        held=held,
        ask=asked,
        **{name: getattr(outcome, name) for name in outcome.__struct_fields__},
    )


def _pair_ask(**fields: Any) -> Ask:
    prefills = tuple(leg(LegKind.PREFILL, f"r{i}", group="gh"[i], **PRICES) for i in range(2))
    decodes = tuple(leg(LegKind.DECODE, f"r{i}", group="gh"[i], **PRICES, **GROUP_PRICES) for i in range(2))
    return ask(prefills=prefills, decodes=decodes, transfer_s={"a": {"a": 0.125}}, **fields)


async def _misfits(receipt: Receipt) -> list[str]:
    return [str(each) for each in await rerun(receipt, VirtualStore())]


@pytest.fixture
def decided(pool: LossyPool) -> Decided:
    return Decided(pool)


class TestDecidesAgain:
    @pytest.mark.parametrize("group_prices", [{}, GROUP_PRICES], ids=["of ranks alone", "of groups too"])
    async def test_a_placement_on_a_single_rank(self, decided: Decided, group_prices: dict[str, Any]) -> None:
        ranks = [single(f"r{i}", group="gh"[i], **PRICES, **group_prices) for i in range(2)]
        receipt = decided.place(ask(*ranks, tie_s=9.0, tie_break=0.7))
        assert (receipt.verdict, len(receipt.rows), len(receipt.loads)) == (Verdict.PLACE, 2, 2)
        assert await _misfits(receipt) == []

    async def test_a_placement_of_a_pair(self, decided: Decided) -> None:
        receipt = decided.place(_pair_ask())
        assert (len(receipt.legs), len(receipt.rows)) == (2, 4)
        assert await _misfits(receipt) == []

    async def test_a_placement_on_a_rank_that_nothing_is_booked_on(self, decided: Decided) -> None:
        decided.pool.report(Sample("idle", requests=2))
        receipt = decided.place(ask(single("idle", **PRICES), single("r1", **PRICES)))
        assert (receipt.rows[0].load, receipt.legs) == ("", (1,))
        assert await _misfits(receipt) == []

    async def test_a_placement_among_singles_that_some_know_nothing_of(self, decided: Decided) -> None:
        receipt = decided.place(ask(single("unheard of", **PRICES), single("r1", **PRICES)))
        assert receipt.rows[0] == RankRows("", "", "")
        assert receipt.legs == (2,)
        assert await _misfits(receipt) == []

    async def test_a_wait(self, decided: Decided) -> None:
        receipt = decided.place(ask(single("r0", cap_requests=0, **PRICES), spill=False))
        assert (receipt.verdict, len(receipt.rows)) == (Verdict.WAIT, 1)
        assert await _misfits(receipt) == []

    async def test_a_refusal(self, decided: Decided) -> None:
        receipt = decided.place(ask(single("r0", incarnation="i0", **PRICES)))
        assert (receipt.verdict, len(receipt.rows)) == (Verdict.REJECT, 1)
        assert receipt.rows[0].seen != ""
        assert await _misfits(receipt) == []

    @pytest.mark.parametrize("decodes", [("r0", "r1"), ("unheard of",)], ids=["found", "none found"])
    async def test_a_rebinding(self, decided: Decided, decodes: tuple[str, ...]) -> None:
        pair = ask(prefills=(leg(LegKind.PREFILL, "r0"),), decodes=(leg(LegKind.DECODE, "r1"),))
        reservation = decided.gateway.adopt(record(1, "p r0", "d r1"))
        held = reserve(pair, (*pair.prefills, *pair.decodes))
        asked = ask(decodes=tuple(leg(LegKind.DECODE, name, group="g", **PRICES, **GROUP_PRICES) for name in decodes))
        receipt = decided.rebind(reservation, held, asked)
        assert len(receipt.rows) == len(decodes)
        assert await _misfits(receipt) == []


def test_a_receipt_has_the_rows_that_the_store_had(decided: Decided) -> None:
    pool = decided.pool
    loads, seens, sums = pool.rows(pool.keys.load), pool.rows(pool.keys.seen), pool.rows(pool.keys.group)
    receipt = decided.place(_pair_ask())
    assert receipt.rows_ms == pool.pool_ms
    for each, rows in zip(receipt.candidates, receipt.rows, strict=True):
        group = " ".join(sums[f"{each.group}:{field}"] for field in "qnk")
        assert rows == RankRows(loads[f"{each.rank} i1"], seens[each.rank], group)


def test_what_need_not_be_explained_is_answered_in_short(decided: Decided) -> None:
    assert decided.gateway.place(ask(single("r0", **PRICES)))[4:] == [b""]
    assert decided.gateway.place(ask(single("r0", incarnation="i0"))) == [b"reject"]


def test_rows_with_numbers_that_json_has_not_keep_no_placement_from_being_made(decided: Decided) -> None:
    huge = " ".join(["9" * 400, *["0"] * 7])
    decided.pool.store.data[decided.pool.keys.load.encode()][b"r0 i1"] = huge.encode()
    receipt = decided.place(ask(single("r0", **PRICES), single("r1", **PRICES)))
    assert (receipt.legs, receipt.loads) == ((2,), ())
    assert receipt.rows[0].load == huge


class Kept:
    """The stream of a pool that is known, and what is written into it."""

    def __init__(self, pool: LossyPool) -> None:
        self.pool = pool
        pool.store._commands.execute(b"SADD", POOLS.encode(), POOL.encode())

    def write(self, receipt: Receipt, *requests: str, kept: int = KEPT) -> list[WrittenReceipt]:
        """One receipt for each request, in one call; each has a reservation of its own."""
        written = [
            write(msgspec.structs.replace(receipt, request=request, reservation=number))
            for number, request in enumerate(requests)
        ]
        rows = [(each.request, each.digest, each.packed) for each in written]
        assert self.pool.send(calls.receipt_add(self.pool.keys, kept, rows)) == len(written)
        return written

    async def reservations(self, request: str) -> list[int]:
        """Of the receipts that are found of a request, in the order in which they were written."""
        found = await find(self.pool.store, request, SchedulerSettings(receipts_kept=KEPT))
        assert found.unreadable == ()
        assert all(each.intact and each.receipt.request == request for each in found.receipts)
        return [each.receipt.reservation for each in found.receipts]


class TestIsFound:
    @pytest.fixture
    def kept(self, pool: LossyPool) -> Kept:
        return Kept(pool)

    @pytest.fixture
    def receipt(self, decided: Decided) -> Receipt:
        return decided.place(ask(single("r0", **PRICES)))

    async def test_among_those_of_others(self, kept: Kept, receipt: Receipt) -> None:
        kept.write(receipt, "other", "mine", "another", "mine")
        assert await kept.reservations("mine") == [1, 3]
        assert await kept.reservations("other") == [0]

    @pytest.mark.parametrize("behind", [0, 1, PIECE - 1, PIECE, 2 * PIECE])
    async def test_however_many_came_behind_it(self, kept: Kept, receipt: Receipt, behind: int) -> None:
        kept.write(receipt, "mine")
        kept.write(receipt, *["other"] * behind)
        assert await kept.reservations("mine") == [0]

    async def test_in_the_field_of_that_name_alone(self, kept: Kept, receipt: Receipt) -> None:
        kept.write(receipt, "mine", "other")
        stream = kept.pool.keys.receipts.encode()
        for _ in range(2):
            kept.pool.store._commands.execute(b"XADD", stream, b"MAXLEN", b"~", b"500", b"*", b"digest", b"mine")
        assert await kept.reservations("mine") == [0]
        found = await find(kept.pool.store, "mine", SchedulerSettings(receipts_kept=KEPT))
        assert found.strange == ("pool sim: entries without a request's id among its receipts: 2",)

    async def test_beside_entries_of_that_name_that_are_no_receipts(self, kept: Kept, receipt: Receipt) -> None:
        kept.write(receipt, "mine")
        stream = kept.pool.keys.receipts.encode()
        kept.pool.store._commands.execute(b"XADD", stream, b"MAXLEN", b"~", b"500", b"*", b"request", b"mine")
        found = await find(kept.pool.store, "mine", SchedulerSettings(receipts_kept=KEPT))
        assert (len(found.receipts), len(found.unreadable)) == (1, 1)

    def test_until_so_many_are_kept(self, kept: Kept, receipt: Receipt) -> None:
        for _ in range(4):
            kept.write(receipt, *["mine"] * 50, kept=100)
        assert len(kept.pool.store.data[kept.pool.keys.receipts.encode()]) == 100
