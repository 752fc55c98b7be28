"""Decisions on pools of all kinds, made as a gateway makes them, with their receipts."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from types import MappingProxyType
from typing import Any

import msgspec
from hypothesis import strategies as st

from scheduler import calls
from scheduler.decision import RequestShape
from scheduler.keys import PoolKeys
from scheduler.messages import Phase
from scheduler.pending import Question, StoreAnswer
from scheduler.planning import Plan, Rules, plan
from scheduler.policies import POLICIES
from scheduler.rank_view import RankView
from scheduler.rebinding import plan_rebinding, shape_of
from scheduler.receipt import Receipt, read, write
from scheduler.receipt_check import check
from scheduler.receipt_making import Case, Maker, answered, make
from scheduler.receipt_search import FoundReceipt
from scheduler.reservation import Reservation
from scheduler.rows import BookLoad
from scheduler.view import PoolView
from simulator.store import VirtualStore
from tests.scheduler.drawn_pools import NIXL, least_tokens

POOL, REQUEST = "m", "req-1"
HEAD = calls.Head("e1", 2_000, "g", 1)

shapes = st.builds(
    RequestShape,
    prompt_tokens=st.integers(1, 1 << 20),
    output_tokens=st.integers(0, 1 << 12),
    prompt_key=st.just("the prompt's key"),
    blocks=st.just((b"the prompt's block",)),
    pairable=st.booleans(),
    least_tokens=least_tokens,
    cached_tokens=st.dictionaries(st.sampled_from(["m0", "m1", "p0", "p2", "d1"]), st.integers(0, 1 << 20)),
)


def spelled(rank: RankView) -> tuple[str, str]:
    """The `load` and the `seen` row of a rank."""
    seen, book = rank.seen, rank.book
    load = " ".join(str(getattr(book, name)) for name in BookLoad.__struct_fields__)
    known = f"{seen.incarnation} {seen.state} {seen.drained:d} {seen.sampled_ms} {seen.foreign_requests}"
    return load, f"{known} {seen.foreign_kv_tokens} {seen.prefill_tokens_per_s!r} n/1 {seen.heard_ms} 1 0 "


def store_with(now: Mapping[str, RankView], pool_ms: int, held: Reservation | None = None) -> VirtualStore:
    """A store whose rows are what ranks have come to since the snapshot."""
    store, keys = VirtualStore(), PoolKeys(POOL)
    rows = {name: spelled(rank) for name, rank in now.items()}
    words: list[tuple[Any, ...]] = [
        ("SET", keys.head, f"e1 {store.now_ms} {pool_ms} 1"),
        ("HSET", keys.gate, "g", "0 0 0"),
        *(("HSET", keys.load, f"{name} {now[name].card.incarnation}", load) for name, (load, _) in rows.items()),
        *(("HSET", keys.seen, name, seen) for name, (_, seen) in rows.items()),
    ]
    if held:
        words.append(("HSET", keys.live("g"), 7, held.record()))
    for each in words:
        store._commands.execute(*(str(word).encode() for word in each))
    return store


def case_of(of: PoolView, shape: RequestShape, turn: int, seed: int, avoid: frozenset[str]) -> Case:
    return Case(REQUEST, seed, shape, of, of.pool_ms + 12.25, turn, avoid)


def placed(case: Case, policy: str, now: Mapping[str, RankView], pool_ms: int) -> tuple[Receipt, StoreAnswer] | None:
    """A placement, where anything can be asked, and the store's answer to it."""
    rules, chance = Rules(policy=POLICIES[policy], connectors=NIXL), Random(case.seed)
    planned = plan(case.shape, case.view, rules, pool_ms=case.pool_ms, turn=case.turn, chance=chance, avoid=case.avoid)
    if planned is None:
        return None
    ask = case.explained(planned.ask)
    reply = store_with(now, pool_ms).call(calls.place(PoolKeys(POOL), HEAD, 7, ask))
    answer = StoreAnswer.read(Question(7, ask), reply)
    return _receipt(case, planned, answer, policy), answer


def rebound(case: Case, policy: str, now: Mapping[str, RankView], pool_ms: int, held: Reservation) -> Receipt | None:
    """A rebinding of what was placed."""
    rules, chance = Rules(policy=POLICIES[policy], connectors=NIXL), Random(case.seed)
    case = msgspec.structs.replace(case, held=held, shape=shape_of(held))
    planned = plan_rebinding(held, case.view, rules, pool_ms=case.pool_ms, chance=chance, avoid=case.avoid)
    if planned is None:
        return None
    ask, done = case.explained(planned.ask), held.at(Phase.PREFILL_DONE)
    call = calls.rebind(PoolKeys(POOL), HEAD, 7, done.record(), ask)
    reply = store_with(now, pool_ms, held=held).call(call)
    return _receipt(case, planned, StoreAnswer.read(Question(7, ask, done), reply), policy)


def _receipt(case: Case, planned: Plan, answer: StoreAnswer, policy: str) -> Receipt:
    maker = Maker(pool=POOL, gateway="g", policy=policy, rules="r", connectors=NIXL)
    return make(case, planned, answered(answer), maker)


def found(receipt: Receipt) -> FoundReceipt:
    """The receipt as it is read from the stream."""
    written = write(receipt)
    return FoundReceipt(POOL, "1-0", *read(written.packed, written.digest))


async def wrong_with(receipt: Receipt) -> list[str]:
    """What does not fit of a receipt whose digest does."""
    return [str(each) for each in await check(found(receipt), REQUEST, VirtualStore)]


def only(of: PoolView, *names: str) -> MappingProxyType[str, RankView]:
    return MappingProxyType({name: of.ranks[name] for name in names})
