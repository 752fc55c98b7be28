"""report: no two ranks give KV to others under one engine id, or at one address."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from scheduler import calls
from scheduler.calls import ReportRow, report_row
from scheduler.messages import KvAddress, RankState
from scheduler.reporter import CLAIM_MS
from tests.contract.world import AGENT, LEASE_MS, World
from tests.samples import card, report

ONE = KvAddress(engine_id="e-1", host="10.0.0.1", port=5600)


def row(rank: str, kv: KvAddress | None, incarnation: str = "i1", state: RankState = RankState.UP) -> ReportRow:
    return report_row(report(rank, incarnation, state=state), card(rank, incarnation, kv=kv))


async def clashes(world: World, *rows: ReportRow, owner: str = AGENT) -> list[str]:
    """Tell the rows; the ranks that were refused for what another has, with that and what it is."""
    reply: Any = await world.run(calls.report(world.keys, world.epoch, LEASE_MS, owner, CLAIM_MS, rows))
    return [word.decode() for word in reply[6]]


async def ranks(world: World) -> set[str]:
    return set((await world.view()).ranks)


@pytest.mark.parametrize(
    ("other", "what"),
    [
        (KvAddress(engine_id="e-1"), "kv engine id e-1"),
        (KvAddress(engine_id="e-2", host="10.0.0.1", port=5600), "kv address 10.0.0.1:5600"),
    ],
)
async def test_a_rank_is_refused_what_another_has(world: World, other: KvAddress, what: str) -> None:
    assert await clashes(world, row("a", ONE)) == []
    assert await clashes(world, row("b", other), owner="node-2/0b") == ["b", "a", what]
    assert await ranks(world) == {"a"}


async def test_of_two_in_one_report_the_first_is_taken(world: World) -> None:
    assert await clashes(world, row("a", ONE), row("b", ONE)) == ["b", "a", "kv engine id e-1"]
    assert await ranks(world) == {"a"}


async def test_ranks_that_say_nothing_of_kv_clash_with_nobody(world: World) -> None:
    assert await clashes(world, row("a", None), row("b", None), row("c", KvAddress()), row("d", KvAddress())) == []
    assert await ranks(world) == {"a", "b", "c", "d"}


async def test_a_rank_may_say_the_same_again_and_something_else_in_its_next_life(world: World) -> None:
    await clashes(world, row("a", ONE))
    assert await clashes(world, row("a", ONE)) == []
    assert await clashes(world, row("a", msgspec.structs.replace(ONE, engine_id="e-2"), "i2")) == []
    assert await clashes(world, row("b", KvAddress(engine_id="e-1"))) == []
    assert await ranks(world) == {"a", "b"}


async def test_what_a_rank_that_left_had_is_free(world: World) -> None:
    await clashes(world, row("a", ONE))
    await clashes(world, row("a", ONE, state=RankState.GONE))
    assert await clashes(world, row("b", ONE)) == []
    fields = await world.store.command("HKEYS", world.keys.card)
    assert {field.decode() for field in fields} == {"b", "kv engine id e-1", "kv address 10.0.0.1:5600"}


@pytest.mark.parametrize("ends", ["down", "silent"])
async def test_what_a_rank_had_that_is_down_or_not_heard_of_may_be_taken(world: World, ends: str) -> None:
    await clashes(world, row("a", ONE))
    if ends == "down":
        await clashes(world, row("a", ONE, state=RankState.DOWN))
    else:
        await world.passes(CLAIM_MS)
    assert await clashes(world, row("b", ONE), owner="node-2/0b") == []
    assert await clashes(world, row("a", ONE)) == ["a", "b", "kv engine id e-1"]


@pytest.mark.parametrize("kv", [b'"text"', b"7", b"[]", b'{"engine_id":7,"host":[],"port":"x"}'])
async def test_a_card_that_says_odd_things_of_kv_clashes_with_nobody(world: World, kv: bytes) -> None:
    odd = list(row("a", None))
    odd[7] = str(odd[7]).replace('"kv":null', f'"kv":{kv.decode()}')
    assert '"kv":null' not in str(odd[7])
    assert await clashes(world, tuple(odd), row("b", ONE)) == []  # type: ignore[arg-type]
