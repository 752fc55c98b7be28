"""Values nobody of ours wrote: they are skipped, counted and healed, and stop neither gateways nor agents."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from random import Random

import msgspec
import pytest

from scheduler import admin
from scheduler.decision import Place, RequestShape
from scheduler.errors import SchedulerError, StoreWrongTypeError
from scheduler.keys import POOLS
from scheduler.messages import CARD_VERSION, Phase
from scheduler.planning import Rules
from scheduler.policies import policy_named
from scheduler.pool import Pool
from scheduler.pools import Pools
from scheduler.reporter import Reporter
from scheduler.settings import SchedulerSettings
from tests.contract.world import AGENT, POOL, NumberedGateway, World, sample
from tests.polling import until
from tests.samples import ask, card, report, single

SETTINGS = SchedulerSettings(lease_ms=400, renew_ms=20, snapshot_ms=10, probe_ms=10, place_deadline_ms=1_000)
SHAPE = RequestShape(prompt_tokens=100, output_tokens=10, prompt_key="k")
FIRST = "g@127.0.0.1:1.1"
"""What the gateway calls itself in the ledger."""

JUNK = [
    pytest.param(b"junk", id="a word"),
    pytest.param(b"\xff\xfe\x00\r\n", id="bytes"),
    pytest.param(b"a b c d", id="four words"),
    pytest.param(b"\xff\xfe 1 2 3", id="bytes and numbers"),
    pytest.param(b"i1 up 0 1 2 3 fast n/1 4 5 0 ", id="a row with a word for its rate"),
    pytest.param(b"", id="nothing"),
]


@asynccontextmanager
async def living(world: World) -> AsyncIterator[Pool]:
    """A pool with a running gateway and an agent that reports rank a, steadily; it places on it."""
    reporter = Reporter(world.store, pool=POOL, node="node-1", settings=SETTINGS, rng=Random(1))
    cards = {"a": card("a", dp_group="g1")}
    rows = [report()]
    await reporter.report(rows, cards)
    pools = Pools(world.store, life="g", address="127.0.0.1:1", settings=SETTINGS, rng=Random(2))

    async def keep_reporting() -> None:
        while True:
            await asyncio.sleep(0.01)
            if not world.real:
                await world.elapse(10)
            try:
                await reporter.report(rows, cards)
            except SchedulerError:
                continue

    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(pools.run(), name="pools"), tasks.create_task(keep_reporting(), name="agent")]
        await until(lambda: pools.get(POOL) is not None and not pools.degraded, "the gateway has joined")
        pool = pools.get(POOL)
        assert pool is not None
        yield pool
        for task in running:
            task.cancel()


async def place(pool: Pool) -> int | None:
    """A reservation made through the shared ledger, or None."""
    decision = await pool.place(SHAPE)
    if isinstance(decision, Place) and not decision.alone:
        return decision.reservation
    if isinstance(decision, Place):
        pool.release(decision.reservation)
    return None


async def placed(pool: Pool) -> int:
    """A reservation made through the shared ledger, soon: after a stall a gateway may know nothing new of the rank."""
    made: list[int] = []

    async def is_made() -> bool:
        reservation = await place(pool)
        made.extend([] if reservation is None else [reservation])
        return bool(made)

    await until(is_made, "a placement through the ledger")
    return made[0]


async def all_is_well(world: World, pool: Pool) -> None:
    """Placements work, are counted exactly, and all come back."""
    pool.release(await placed(pool))
    await until(lambda: _exact(world, pool), "the ledger holds what the gateway holds")
    for reservation in list(pool._ledger.live):
        pool.release(reservation)
    await until(lambda: _nothing_left(world), "everything given back")


async def _exact(world: World, pool: Pool) -> bool:
    now = await admin.status(world.store, SETTINGS)
    return [rank.reservations for rank in now.ranks] == [pool.reservations] == [now.reservations]


async def _nothing_left(world: World) -> bool:
    sums = await world.store.command("HMGET", world.keys.group, "g1:q", "g1:n", "g1:k")
    return await world.load_row("a") in [None, [0] * 7] and set(sums) <= {b"0", None}


@pytest.mark.parametrize("junk", JUNK)
@pytest.mark.parametrize(
    ("key", "field"),
    [
        ("head", ""),
        ("gate", FIRST),
        ("gate", "stranger"),
        ("load", "a i1"),
        ("hist", "a i1"),
        ("group", "g1:q"),
        ("seen", "a"),
        ("seen", "stranger"),
        ("card", "a"),
        ("card", "stranger"),
        ("drain", "stranger"),
        ("live", "{reservation}"),
    ],
)
async def test_a_corrupt_value_heals(world: World, key: str, field: str, junk: bytes) -> None:
    async with living(world) as pool:
        held = await placed(pool)
        pool.advance(held, Phase.DISPATCHED)
        if key == "head":
            await world.store.command("SET", world.keys.head, junk)
        else:
            name = world.keys.live(FIRST) if key == "live" else getattr(world.keys, key)
            await world.store.command("HSET", name, field.format(reservation=held), junk)
        await all_is_well(world, pool)


@pytest.mark.parametrize("field", [1, 2, 3])
@pytest.mark.parametrize("number", [2**53 + 1, 10**18, int("9" * 4_000)])
async def test_a_head_with_a_number_beyond_counting_heals(world: World, field: int, number: int) -> None:
    async with living(world) as pool:
        await place(pool)
        words = (await world.store.command("GET", world.keys.head)).split()
        words[field] = b"%d" % number
        await world.store.command("SET", world.keys.head, b" ".join(words))
        await all_is_well(world, pool)


@pytest.mark.parametrize("member", [b"stranger", b"\xff\xfe\x00\r\n", b""])
@pytest.mark.parametrize("key", ["lease", "change"])
async def test_a_corrupt_member_heals(world: World, key: str, member: bytes) -> None:
    async with living(world) as pool:
        await place(pool)
        await world.store.command("ZADD", getattr(world.keys, key), 0, member)
        await all_is_well(world, pool)


@pytest.mark.parametrize("field", [b"\xff\xfe\x00\r\n", b""])
@pytest.mark.parametrize("key", ["gate", "load", "hist", "group", "seen", "card", "drain"])
async def test_a_corrupt_field_does_no_harm(world: World, key: str, field: bytes) -> None:
    async with living(world) as pool:
        await place(pool)
        await world.store.command("HSET", getattr(world.keys, key), field, b"\xff")
        await all_is_well(world, pool)


@pytest.mark.parametrize("words", [("SET", "junk"), ("HSET", "junk", "junk")], ids=["a string", "a hash"])
async def test_a_list_of_pools_that_is_none_is_made_anew(world: World, words: tuple[str, ...]) -> None:
    async with living(world) as pool:
        await until(lambda: _spoils_list(world, *words), "the list is none")
        await until(lambda: _lists(world), "the pool is listed again")
        await all_is_well(world, pool)


async def _spoils_list(world: World, command: str, *junk: str) -> bool:
    """Whether nobody has listed the pool anew before the junk was there."""
    await world.store.command("DEL", POOLS)
    with suppress(StoreWrongTypeError):
        await world.store.command(command, POOLS, *junk)
        return True
    return False


async def _lists(world: World) -> bool:
    with suppress(StoreWrongTypeError):
        pools: list[bytes] = await world.store.command("SMEMBERS", POOLS)
        return pools == [POOL.encode()]
    return False


FUTURE = msgspec.json.encode(msgspec.structs.replace(card("a"), v=CARD_VERSION + 1))


@pytest.mark.parametrize(
    ("key", "field", "value"),
    [
        pytest.param("seen", "a", b"\xff\xfe", id="a report of junk bytes"),
        pytest.param("seen", "a", b"i1 up 0 1 2 3 nan n/1 4 5 0 ", id="a report without a rate"),
        pytest.param("seen", "a", b"i1 asleep 0 1 2 3 9 n/1 4 5 ", id="a report of a state we do not know"),
        pytest.param("load", "a i1", b"1 2", id="a load cut short"),
        pytest.param("card", "a", b"{", id="a card that is no JSON"),
        pytest.param("card", "a", b'{"v":1,"rank":"\xff"}', id="a card that is no UTF-8"),
        pytest.param("card", "a", b'{"v":1,"rank":"a"}', id="a card without its fields"),
        pytest.param("card", "a", FUTURE, id="a card of a later version"),
        pytest.param("card", "a", msgspec.json.encode(card("a", "i0")), id="a card of another life"),
    ],
)
async def test_an_unreadable_rank_is_counted_and_not_placed_on(
    world: World, key: str, field: str, value: bytes
) -> None:
    await world.report(sample("a"), sample("b"))
    await world.store.command("HSET", getattr(world.keys, key), field, value)
    pool = Pool(
        POOL,
        world.store,
        Rules(policy=policy_named("least_work")),
        gateway="g",
        settings=SETTINGS,
        rng=Random(1),
        clock=lambda: 0.0,
    )
    await pool.refresh()
    assert set(pool.view.ranks) == {"b"}
    assert pool.counters["unreadable_rows"] == 1


async def test_a_corrupt_group_sum_is_priced_as_nothing_and_has_the_pool_rebuilt(
    world: World, gateway: NumberedGateway
) -> None:
    await world.report(sample("a"))
    await world.store.command("HSET", world.keys.group, "g1:q", b"\xff", "g1:n", "")
    asked = ask(single("a", group="g1", per_group_queued_token_s=1, per_group_request_s=1))
    assert (await gateway.place(asked, 1))[:2] == [b"place", b"0.000000000"]
    assert await gateway.place(asked, 2) == [b"resync"]
    assert await world.begin("e2") == "e2"


async def test_a_later_version_s_unknown_fields_are_skipped(world: World) -> None:
    await world.report(sample("a"))
    text = msgspec.json.encode(msgspec.to_builtins(card("a")) | {"flux": 88})
    await world.store.command("HSET", world.keys.card, "a", text)
    assert (await world.view()).ranks["a"].card == card("a")


async def test_another_agent_s_name_of_junk_bytes_can_be_refused(world: World) -> None:
    await world.report(sample("a"))
    row: bytes = await world.store.command("HGET", world.keys.seen, "a")
    await world.store.command("HSET", world.keys.seen, "a", row.replace(AGENT.encode(), b"\xff\xfe"))
    reporter = Reporter(world.store, pool=POOL, node="node-2", settings=SETTINGS, rng=Random(1))
    reply = await reporter.report([report()], {"a": card("a")})
    assert list(reply.refused) == ["a"]
