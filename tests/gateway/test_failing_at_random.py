"""Ranks that fail in every way under clients that leave at any moment: what was held is given back, once."""

import json
from random import Random

import anyio
import pytest

from gateway.first_byte_times import ENOUGH
from tests.gateway.hanging_up import send_and_hang_up
from tests.gateway.running import COMPLETIONS, checked_error, eventually, post
from tests.gateway.scripted_pair import answers
from tests.gateway.scripted_rank import (
    COMPLETION,
    EVENTS,
    STREAM_HEAD,
    Exchange,
    Script,
    breaks_off,
    chunk,
    dies_in_its_answer,
    stalls,
    streaming,
)
from tests.gateway.scripted_ranks import answers_well, scripted_ranks

CLIENTS = 150
ERROR = b'{"error":{"message":"Oh no","type":"InternalServerError","param":null,"code":500}}'


async def answers_late(exchange: Exchange) -> None:
    await anyio.sleep(0.1)
    await answers_well(exchange)


async def dies_in_its_stream(exchange: Exchange) -> None:
    if b'"stream":true' in exchange.request.body:
        await exchange.send(STREAM_HEAD, chunk(EVENTS[0]))
    exchange.abort()


async def says_no_more_than_that_it_has_ended(exchange: Exchange) -> None:
    if b'"stream":true' in exchange.request.body:
        await streaming(b"data: [DONE]\n\n")(exchange)
    exchange.close()


WAYS: tuple[Script, ...] = (
    answers_well,
    answers_late,
    breaks_off,
    stalls,
    dies_in_its_answer,
    dies_in_its_stream,
    answers(ERROR, "500 Oh no"),
    answers(b"<html>"),
    says_no_more_than_that_it_has_ended,
)


@pytest.mark.parametrize("hedge", [False, True])
async def test_clients_that_leave_ranks_that_fail_leave_nothing(hedge: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.hedging.SHARE", 0.5)
    random = Random(11)

    async def somehow(exchange: Exchange) -> None:
        await random.choice(WAYS)(exchange)

    async with scripted_ranks(somehow, somehow, somehow, hedge=hedge, first_byte_ms=2_000) as ranks:
        if hedging := ranks.served.gateway.hedging:
            for size in ((prompt, output) for prompt in range(8) for output in range(16)):
                for _ in range(ENOUGH):
                    hedging.learn("sim", size, 0.02)

        async def leave(number: int) -> None:
            await anyio.sleep(random.uniform(0, 1))
            fields = {"model": "sim", "prompt": "x", "stream": number % 2 == 0}
            raw = post(COMPLETIONS, json.dumps(fields).encode())
            await send_and_hang_up(ranks.served.port, raw, random, within_s=0.3)

        async with anyio.create_task_group() as clients:
            for number in range(CLIENTS):
                clients.start_soon(leave, number)
        await eventually(ranks.nothing_is_held)
    assert len(ranks.pool.asked) >= CLIENTS
    assert set(ranks.pool.releases().values()) == {1}
    assert len(ranks.pool.placed) == len(ranks.pool.releases())


async def test_clients_that_stay_get_an_answer_or_an_error_in_its_shape() -> None:
    random = Random(12)

    async def somehow(exchange: Exchange) -> None:
        await random.choice([way for way in WAYS if way is not stalls])(exchange)

    async with scripted_ranks(somehow, somehow, somehow) as ranks:
        for number in range(60):
            response = await ranks.served.complete(stream=number % 2 == 0)
            if response.status_code != 200:
                checked_error(response.status_code, response.content)
            elif number % 2:
                assert response.content == COMPLETION
            else:
                assert response.content.endswith(EVENTS[-1]) or b'data: {"error"' in response.content
        await eventually(ranks.nothing_is_held)
    assert set(ranks.pool.releases().values()) == {1}
