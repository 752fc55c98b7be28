"""Whatever a pool looks like: a decision comes out again from its receipt, and a changed receipt does not fit."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import msgspec
from hypothesis import assume, given
from hypothesis import strategies as st

from scheduler.decision import RequestShape
from scheduler.policies import POLICIES
from scheduler.receipt import Receipt, Verdict, read, write
from scheduler.receipt_check import check
from scheduler.receipt_search import FoundReceipt
from scheduler.view import PoolView
from simulator.store import VirtualStore
from tests.invariants.profiles import examples
from tests.scheduler.drawn_pools import pools
from tests.scheduler.receipt_scene import POOL, REQUEST, case_of, placed, rebound, shapes, wrong_with

LATER_MS = 60_777
"""When the store is asked."""
MOST_WHOLE = 8
"""Ranks of a pool all of which are asked about, so that all can be made again."""
DECIDING = ("seed", "least_queue_s", "priced", "ask", "legs", "cost_s", "loads", "rows_ms")
"""Fields of a receipt of such a pool, of which every part counts."""

Path = tuple[str | int, ...]

names = st.frozensets(st.sampled_from([f"{role}{number}" for role in "mpd" for number in range(6)]))


@examples(60)
@given(
    of=pools(1),
    now=pools(1),
    shape=shapes,
    policy=st.sampled_from(sorted(POLICIES)),
    turn=st.integers(0, 99),
    seed=st.integers(0, 1 << 53),
    avoid=names,
)
async def test_a_decision_comes_out_again(
    of: PoolView, now: PoolView, shape: RequestShape, policy: str, turn: int, seed: int, avoid: frozenset[str]
) -> None:
    case = case_of(of, shape, turn, seed, avoid)
    decided = placed(case, policy, now.ranks, LATER_MS)
    if decided is None:
        return
    receipt, answer = decided
    assert await wrong_with(receipt) == []
    held = answer.reservation
    assert (receipt.verdict is Verdict.PLACE) == (held is not None)
    if held and len(held.legs) == 2:
        onwards = rebound(case, policy, now.ranks, LATER_MS, held)
        assert onwards is not None
        assert await wrong_with(onwards) == []


@examples(30)
@given(of=pools(1), now=pools(1), shape=shapes, policy=st.sampled_from(sorted(POLICIES)), at=st.randoms())
async def test_any_change_of_a_receipt_is_noticed(
    of: PoolView, now: PoolView, shape: RequestShape, policy: str, at: Any
) -> None:
    decided = placed(case_of(of, shape, 1, 5, frozenset()), policy, now.ranks, LATER_MS)
    assume(decided is not None)
    assert decided is not None
    written = write(decided[0])
    changed = _changed(decided[0], at.choice(list(_leaves(msgspec.to_builtins(decided[0])))))
    receipt, intact = read(write(changed).packed, written.digest)
    assert not intact
    misfits = await check(FoundReceipt(POOL, "1-0", receipt, intact), REQUEST, VirtualStore)
    assert "digest" in {each.field for each in misfits}


@examples(80)
@given(of=pools(1, MOST_WHOLE), shape=shapes, policy=st.sampled_from(sorted(POLICIES)), at=st.randoms())
async def test_a_change_of_what_was_decided_is_noticed_though_the_digest_was_made_anew(
    of: PoolView, shape: RequestShape, policy: str, at: Any
) -> None:
    decided = placed(case_of(of, shape, 1, 5, frozenset()), policy, of.ranks, LATER_MS)
    assume(decided is not None and decided[0].is_whole and decided[0].loads)
    assert decided is not None
    built = msgspec.to_builtins(decided[0])
    deciding = [path for path in _leaves(built) if path[0] in DECIDING]
    changed = _changed(decided[0], at.choice(deciding))
    assert await wrong_with(changed) != []


def _leaves(value: Any, path: Path = ()) -> Iterator[Path]:
    """Where the numbers, names and flags of a value are."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _leaves(inner, (*path, name))
    elif isinstance(value, list | tuple):
        for place, inner in enumerate(value):
            yield from _leaves(inner, (*path, place))
    elif value is not None and path[-1] not in {"kind", "verdict", "role", "v"} and not _names_a_kind(path):
        yield path


def _names_a_kind(path: Path) -> bool:
    """Enumerations inside rows: another word would not be read at all."""
    in_candidate = len(path) == 4 and path[0] == "ask" and path[-1] == 2
    return in_candidate or (len(path) == 3 and path[0] == "known" and path[-1] == 2)


def _changed(receipt: Receipt, path: Path) -> Receipt:
    """The receipt with one leaf a little different."""
    built = msgspec.json.decode(msgspec.json.encode(receipt))
    inner = built
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = _other(inner[path[-1]])
    return msgspec.convert(built, Receipt)


def _other(value: Any) -> Any:
    if isinstance(value, bool):
        return not value
    if isinstance(value, str):
        return f"{value}x"
    return value + 1 if isinstance(value, int) else math.nextafter(value, math.inf)
