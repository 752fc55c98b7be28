"""Requests whose first byte is late: another rank is asked too, and whoever is first answers."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import product
from typing import Any

import anyio
import pytest

from gateway.first_byte_times import ENOUGH
from gateway.hedging import SAVED, Hedging, size_of
from tests.gateway.running import eventually
from tests.gateway.scripted_pair import answers, scripted_pair
from tests.gateway.scripted_rank import COMPLETION, EVENTS, STREAM_HEAD, Exchange, Script, breaks_off, chunk, stalls
from tests.gateway.scripted_ranks import Ranks, answers_well, scripted_ranks

STREAM = b"".join(EVENTS)
SIZE = (5, 0)


def test_of_a_hundred_requests_at_most_five_are_hedged_but_some_may_be_saved_up() -> None:
    hedging = Hedging()
    hedged = 0
    for _ in range(2_000):
        hedging.after_s("sim", SIZE)
        hedged += hedging.take()
    assert hedged == 100
    for _ in range(2_000):
        hedging.after_s("sim", SIZE)
    assert sum(hedging.take() for _ in range(2_000)) == SAVED


def test_when_to_hedge_is_learned_for_each_pool() -> None:
    hedging = Hedging()
    for _ in range(ENOUGH):
        hedging.learn("sim", SIZE, 0.5)
    assert 0.4 < (hedging.after_s("sim", SIZE) or 0) < 0.7
    assert hedging.after_s("other", SIZE) is None


def expects_little(ranks: Ranks) -> None:
    """The gateway has learned that answers come soon, and may hedge."""
    hedging = ranks.served.gateway.hedging
    assert hedging is not None
    for size in product(range(8), range(16)):  # of what size requests are is learned too
        for _ in range(ENOUGH):
            hedging.learn("sim", size, 0.05)
            hedging.after_s("sim", SIZE)


@asynccontextmanager
async def hedged_ranks(*scripts: Script, **options: Any) -> AsyncIterator[Ranks]:
    """Ranks that follow these scripts, and a gateway that hedges."""
    async with scripted_ranks(*scripts, hedge=True, explain=True, **options) as ranks:
        expects_little(ranks)
        yield ranks


async def hedges(ranks: Ranks) -> tuple[int, int]:
    """How many were made, and how many of them answered."""
    page = (await ranks.served.client.get("/metrics")).text
    counted = [line.split()[-1] for line in page.splitlines() if line.startswith("forebay_gateway_hedges")]
    names = [line.split("{")[0] for line in page.splitlines() if line.startswith("forebay_gateway_hedges")]
    found = {name: int(float(count)) for name, count in zip(names, counted, strict=True) if "created" not in name}
    return found.get("forebay_gateway_hedges_total", 0), found.get("forebay_gateway_hedges_won_total", 0)


async def begins_and_says_nothing(exchange: Exchange) -> None:
    await exchange.send(STREAM_HEAD, chunk(b": keep-alive\n\n"))
    await exchange.until_closed()


@pytest.mark.parametrize(("stream", "script"), [(False, stalls), (True, stalls), (True, begins_and_says_nothing)])
async def test_a_request_that_is_late_is_answered_by_another_rank_and_cancelled_at_the_first(
    stream: bool, script: Script
) -> None:
    async with hedged_ranks(script) as ranks:
        response = await ranks.served.complete(stream=stream, headers={"x-forebay-explain": "1"})
        await eventually(lambda: ranks.first.open_connections == 0)
        await eventually(ranks.nothing_is_held)
        assert await hedges(ranks) == (1, 1)
    assert response.content == (STREAM if stream else COMPLETION)
    assert response.headers["x-forebay-decode"] == "B"
    assert ranks.names() == "AB"
    assert ranks.pool.avoided == [frozenset(), {"A"}]
    assert set(ranks.pool.releases().values()) == {1}
    assert ranks.first.requests[0].header("x-request-id") != ranks.second.requests[0].header("x-request-id")


@pytest.mark.parametrize("stream", [False, True])
async def test_a_first_rank_that_answers_before_the_second_has_its_answer_taken_and_the_second_is_cancelled(
    stream: bool,
) -> None:
    async def answers_late(exchange: Exchange) -> None:
        await eventually(lambda: len(ranks.second.requests) == 1)
        await answers_well(exchange)

    async with hedged_ranks(answers_late, stalls) as ranks:
        response = await ranks.served.complete(stream=stream, headers={"x-forebay-explain": "1"})
        await eventually(lambda: ranks.second.open_connections == 0)
        await eventually(ranks.nothing_is_held)
        assert await hedges(ranks) == (1, 0)
    assert response.content == (STREAM if stream else COMPLETION)
    assert response.headers["x-forebay-decode"] == "A"
    assert set(ranks.pool.releases().values()) == {1}


async def test_the_loser_is_no_load_while_the_winner_still_answers() -> None:
    goes_on = anyio.Event()

    async def answers_slowly(exchange: Exchange) -> None:
        await exchange.send(STREAM_HEAD, chunk(EVENTS[0]))
        await goes_on.wait()
        await exchange.send(*map(chunk, EVENTS[1:]), b"0\r\n\r\n")

    async with hedged_ranks(stalls, answers_slowly) as ranks, anyio.create_task_group() as tasks:

        async def watch() -> None:
            await eventually(lambda: len(ranks.second.requests) == 1 and len(ranks.pool.live) == 1)
            goes_on.set()

        tasks.start_soon(watch)
        response = await ranks.served.complete(stream=True)
    assert response.content == STREAM


async def test_a_client_that_leaves_while_two_ranks_work_leaves_nothing_at_either() -> None:
    async with hedged_ranks(stalls, stalls) as ranks:
        async with anyio.create_task_group() as client:

            async def leave() -> None:
                await eventually(lambda: ranks.names() == "AB")
                client.cancel_scope.cancel()

            client.start_soon(leave)
            await ranks.served.complete()
        await eventually(lambda: ranks.first.open_connections == ranks.second.open_connections == 0)
        await eventually(ranks.nothing_is_held)
    assert set(ranks.pool.releases().values()) == {1}


async def test_where_the_first_rank_fails_meanwhile_the_second_ones_answer_is_taken() -> None:
    async def fails_late(exchange: Exchange) -> None:
        await eventually(lambda: len(ranks.second.requests) == 1)
        exchange.abort()

    async def answers_later(exchange: Exchange) -> None:
        await eventually(lambda: ranks.first.open_connections == 0)
        await answers_well(exchange)

    async with hedged_ranks(fails_late, answers_later) as ranks:
        response = await ranks.served.complete()
        await eventually(ranks.nothing_is_held)
    assert response.content == COMPLETION
    assert ranks.names() == "AB"


async def test_where_both_fail_a_third_is_the_last_to_be_asked() -> None:
    async def fails_late(exchange: Exchange) -> None:
        await eventually(lambda: len(ranks.second.requests) == 1)
        exchange.abort()

    async with hedged_ranks(fails_late, breaks_off, answers(b'{"error":{}}', "503 Busy")) as ranks:
        response = await ranks.served.complete()
        await eventually(ranks.nothing_is_held)
    assert (response.status_code, response.content) == (503, b'{"error":{}}')
    assert ranks.names() == "ABC"
    assert ranks.pool.avoided == [frozenset(), {"A"}, {"A", "B"}]
    assert set(ranks.pool.releases().values()) == {1}


async def test_where_only_the_silent_one_is_left_its_time_out_is_told() -> None:
    async def fails_late(exchange: Exchange) -> None:
        await eventually(lambda: len(ranks.second.requests) == 1)
        del ranks.pool.view.ranks["A"]  # type: ignore[attr-defined]
        exchange.abort()

    async with hedged_ranks(fails_late, stalls, first_byte_ms=1_000) as ranks:
        del ranks.pool.view.ranks["C"]  # type: ignore[attr-defined]
        response = await ranks.served.complete()
    assert (response.status_code, ranks.names()) == (504, "AB")


async def answers_in_a_while(exchange: Exchange) -> None:
    """Much later than it is expected to."""
    await anyio.sleep(0.5)
    await answers_well(exchange)


async def test_without_another_rank_there_is_nothing_to_hedge_with() -> None:
    async with hedged_ranks(answers_in_a_while) as ranks:
        for name in "BC":
            del ranks.pool.view.ranks[name]  # type: ignore[attr-defined]
        response = await ranks.served.complete()
        assert await hedges(ranks) == (0, 0)
        await eventually(ranks.nothing_is_held)
    assert response.content == COMPLETION
    assert ranks.names() == "A"


async def test_a_response_that_a_rank_keeps_is_not_made_twice() -> None:
    body = {"model": "sim", "input": "x"}

    async with hedged_ranks(answers_in_a_while) as ranks:
        await ranks.served.client.post("/v1/responses", json=body)
        assert ranks.names() == "A"
        await ranks.served.client.post("/v1/responses", json=body | {"store": False})
        assert ranks.names() == "AAB"


async def test_a_gateway_whose_retries_are_used_up_hedges_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.retry_budget.FLOOR", -1_000)
    async with hedged_ranks(answers_in_a_while) as ranks:
        await ranks.served.complete()
        assert await hedges(ranks) == (0, 0)


async def test_nothing_is_hedged_unless_it_is_asked_for() -> None:
    async with scripted_ranks() as ranks:
        assert ranks.served.gateway.hedging is None


async def test_a_pair_is_not_hedged() -> None:
    async with scripted_pair(hedge=True) as pair:
        await pair.served.complete()
        hedging = pair.served.gateway.hedging
        assert hedging is not None
        for _ in range(ENOUGH):
            hedging.learn("sim", size_of(pair.pool.asked[0], streamed=False), 0.01)
            hedging.after_s("sim", SIZE)
        pair.decode.script = answers_in_a_while
        await pair.served.complete()
    assert pair.names() == ["P", "P", "D", "D"]


async def test_what_is_learned_is_what_answers_took() -> None:
    async with scripted_ranks(hedge=True) as ranks:
        for _ in range(ENOUGH):
            await ranks.served.complete(stream=True)
        hedging = ranks.served.gateway.hedging
        assert hedging is not None
        assert hedging.after_s("sim", size_of(ranks.pool.asked[0], streamed=True)) is not None
        assert hedging.after_s("sim", size_of(ranks.pool.asked[0], streamed=False)) is None
