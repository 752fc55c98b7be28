"""limit.lua, on every store: the limits of one API key over all gateways."""

from __future__ import annotations

from scheduler import keys, limit_calls
from scheduler.limit_rule import EMPTY, SPAN, Levels, Limits, Verdict
from tests.contract.world import LEASE_MS, World

NAME = "team-a"
Told = list[tuple[Verdict, Levels]]


async def ask(
    world: World,
    limits: Limits,
    *tokens: int,
    gateway: str = "7@gw-1:8000",
    running: int = 0,
    more: Levels = EMPTY,
    name: str = NAME,
) -> Told:
    call = limit_calls.limit(name, gateway, LEASE_MS, limits, running, more, tokens)
    return limit_calls.limit_answers(await world.run(call))


def verdicts(told: Told) -> list[Verdict]:
    return [verdict for verdict, _ in told]


ADMITTED, REQUESTS, TOKENS, AT_ONCE = Verdict


async def test_a_minute_of_requests_passes_at_once_and_no_more(world: World) -> None:
    limits = Limits(requests_per_minute=3)
    assert verdicts(await ask(world, limits, 0, 0, gateway="a@h:1")) == [ADMITTED] * 2
    assert verdicts(await ask(world, limits, 0, 0, gateway="b@h:1")) == [ADMITTED, REQUESTS]


async def test_tokens_count_apart_from_requests(world: World) -> None:
    limits = Limits(tokens_per_minute=100)
    told = await ask(world, limits, 60, 60, 40, 0)
    assert verdicts(told) == [ADMITTED, TOKENS, ADMITTED, ADMITTED]
    assert told[-1][1].requests == 0
    assert 99 * SPAN < told[-1][1].tokens <= 100 * SPAN


async def test_what_was_used_beside_what_was_expected_is_noted(world: World) -> None:
    limits = Limits(tokens_per_minute=100)
    assert verdicts(await ask(world, limits, 100, 50)) == [ADMITTED, TOKENS]
    assert verdicts(await ask(world, limits, 50, more=Levels(0, -60 * SPAN))) == [ADMITTED]
    assert verdicts(await ask(world, limits, 50, more=Levels(0, 1000 * SPAN))) == [TOKENS]


async def test_a_debt_is_of_an_hour_at_most(world: World) -> None:
    limits = Limits(requests_per_minute=2, tokens_per_minute=100)
    ((_, levels),) = await ask(world, limits, 0, more=Levels(10**14, 10**14))
    assert levels == Levels(60 * 2 * SPAN, 60 * 100 * SPAN)


async def test_time_gives_back_at_the_rate_of_the_limit(world: World) -> None:
    limits = Limits(requests_per_minute=60)
    assert verdicts(await ask(world, limits, *[0] * 61))[-2:] == [ADMITTED, REQUESTS]
    await back(world, 10_000)
    assert verdicts(await ask(world, limits, *[0] * 20)).count(ADMITTED) in range(10, 16)


async def test_a_clock_that_is_set_back_locks_nobody_out(world: World) -> None:
    limits = Limits(requests_per_minute=60)
    await ask(world, limits, *[0] * 60)
    await back(world, -3_600_000)
    assert verdicts(await ask(world, limits, 0)) == [REQUESTS]
    await back(world, 2_000)
    assert verdicts(await ask(world, limits, 0)) == [ADMITTED]


async def test_no_more_than_so_many_run_at_once_over_all_gateways(world: World) -> None:
    limits = Limits(requests_at_once=3)
    assert verdicts(await ask(world, limits, 0, 0, gateway="a@h:1")) == [ADMITTED] * 2
    assert verdicts(await ask(world, limits, 0, 0, gateway="b@h:1")) == [ADMITTED, AT_ONCE]
    await ask(world, limits, gateway="a@h:1", running=1)
    assert verdicts(await ask(world, limits, 0, 0, gateway="b@h:1", running=1)) == [ADMITTED, AT_ONCE]


async def test_what_a_gateway_that_died_has_run_counts_until_its_lease_ends(world: World) -> None:
    limits = Limits(requests_at_once=2)
    await ask(world, limits, 0, gateway="dead@h:1")
    await ask(world, limits, 0, gateway="alive@h:1")
    await back(world, LEASE_MS - 1_000)
    await ask(world, limits, gateway="alive@h:1", running=1)
    assert verdicts(await ask(world, limits, 0, gateway="c@h:1")) == [AT_ONCE]
    await back(world, 1_001)
    assert verdicts(await ask(world, limits, 0, 0, gateway="c@h:1")) == [ADMITTED, AT_ONCE]


async def test_a_lease_that_nobody_can_have_taken_counts_for_nothing(world: World) -> None:
    far_off_ms = 10**15
    await world.store.command("SET", keys.limit(NAME), f"1 1 0 0 x@h:1={far_off_ms}/9 y@h:1={'9' * 400}/{'9' * 400}")
    assert verdicts(await ask(world, Limits(requests_at_once=1), 0, 0)) == [ADMITTED, AT_ONCE]
    row: bytes = await world.store.command("GET", keys.limit(NAME))
    assert b"x@h:1" not in row
    assert b"y@h:1" not in row


async def test_an_empty_bucket_takes_any_request(world: World) -> None:
    assert verdicts(await ask(world, Limits(tokens_per_minute=10), 500, 1)) == [ADMITTED, TOKENS]


async def test_keys_do_not_share_their_limits(world: World) -> None:
    limits = Limits(requests_per_minute=1)
    for name in ("a", "b", "a"):
        expected = [REQUESTS] if name == "a" and await world.store.command("GET", keys.limit("a")) else [ADMITTED]
        assert verdicts(await ask(world, limits, 0, name=name)) == expected


async def test_what_is_none_of_ours_is_an_empty_bucket_and_heals(world: World) -> None:
    limits = Limits(requests_per_minute=1)
    for spoil in (("HSET", keys.limit(NAME), "what", "ever"), ("SET", keys.limit(NAME), "1 2 x")):
        await world.store.command("DEL", keys.limit(NAME))
        await world.store.command(*spoil)
        assert verdicts(await ask(world, limits, 0, 0)) == [ADMITTED, REQUESTS]
        assert verdicts(await ask(world, limits, 0)) == [REQUESTS]


async def test_it_holds_no_secret_and_leaves_the_ledger_as_it_is(world: World) -> None:
    before = await world.contents()
    await ask(world, Limits(requests_per_minute=1), 0)
    assert await world.contents() == before


async def back(world: World, ms: int) -> None:
    """The key's bucket was looked at so many ms earlier than it was; negative: later."""
    last, rest = (await world.store.command("GET", keys.limit(NAME))).split(b" ", 1)
    await world.store.command("SET", keys.limit(NAME), b"%d %s" % (int(last) - ms, rest))
