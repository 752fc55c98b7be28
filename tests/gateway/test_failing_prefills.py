"""What becomes of a request whose prefill rank refuses it or fails: another rank, or the refusal as it came."""

import json

import pytest

from scheduler.messages import Role
from tests.gateway.fake_pools import card
from tests.gateway.running import eventually
from tests.gateway.scripted_pair import PARAMS, RECOMPUTED, answers, prefill_answer, scripted_pair, sent
from tests.gateway.scripted_rank import (
    COMPLETION,
    Exchange,
    Script,
    breaks_off,
    chunk,
    dies_in_its_answer,
    stalls,
    streams,
)


@pytest.mark.parametrize("stream", [False, True])
async def test_what_a_prefill_rank_refuses_reaches_the_client_as_it_came(stream: bool) -> None:
    body = b'{"error":{"message":"too long","type":"BadRequestError","param":"input_tokens","code":400}}'
    async with scripted_pair(answers(body, "400 Bad Request")) as pair:
        response = await pair.served.complete(stream=stream)
    assert (response.status_code, response.content) == (400, body)
    assert pair.names() == ["P"]
    assert pair.pool.words() == ["dispatched", "released"]


@pytest.mark.parametrize("stream", [False, True])
async def test_a_refusal_of_the_prefill_rank_is_never_taken_for_a_recomputation(stream: bool) -> None:
    async with scripted_pair(answers(RECOMPUTED, "400 Bad Request")) as pair:
        response = await pair.served.complete(stream=stream)
    assert (response.status_code, response.content) == (400, RECOMPUTED)
    assert pair.names() == ["P"]


async def stalls_in_its_answer(exchange: Exchange) -> None:
    await exchange.send(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{")
    await exchange.until_closed()


async def is_endless(exchange: Exchange) -> None:
    await exchange.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
    while True:
        await exchange.send(chunk(b" " * 100_000))


BAD_PREFILLS: dict[str, Script] = {
    "500": answers(b"{}", "500 Internal Server Error"),
    "503": answers(b"{}", "503 Service Unavailable"),
    "302": answers(b"{}", "302 Found"),
    "broken off": breaks_off,
    "broken off inside": dies_in_its_answer,
    "silent": stalls,
    "silent inside": stalls_in_its_answer,
    "endless": is_endless,
    "no JSON": answers(b"<html>"),
    "empty": answers(b""),
    "a list": answers(b"[]"),
    "invalid UTF-8": answers(prefill_answer().replace(b"a89bdb21", b"\xff\xfe")),
    "deep": answers(b'{"kv_transfer_params":' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
    "an error": answers(b'{"error":{"message":"Internal server error","code":500}}'),
    "a stream": streams,
    "no length": answers(prefill_answer(usage=None)),
    "too many things": answers(prefill_answer(x=[[]] * 200_000)),
}


@pytest.mark.parametrize("name", BAD_PREFILLS)
async def test_a_prefill_rank_that_fails_is_replaced(name: str) -> None:
    # Long enough for the second one to be in time on a busy machine.
    prefill_ms = 2_000 if name.startswith("silent") else 300_000
    async with scripted_pair(BAD_PREFILLS[name], prefill_ms=prefill_ms) as pair:
        response = await pair.served.complete()
        page = (await pair.served.client.get("/metrics")).text
        await eventually(pair.nothing_is_held)
    assert response.content == COMPLETION
    assert pair.names() == ["P", "P2", "D"]
    assert pair.retried() == [{"P"}]
    assert 'forebay_gateway_retries_total{pool="sim",reason="prefill_failed"} 1.0' in page
    assert set(pair.pool.releases().values()) == {1}


async def test_what_is_tried_again_is_logged_with_its_reason(caplog: pytest.LogCaptureFixture) -> None:
    async with scripted_pair(answers(prefill_answer(PARAMS | {"remote_port": 0}))) as pair:
        await pair.served.complete()
    (line,) = [json.loads(record.getMessage()) for record in caplog.records if record.name == "gateway.serving"]
    assert (line["event"], line["reason"], line["rank"]) == ("retry", "prefill_failed", "P")
    assert "remote_port" in line["error"]
    assert line["attempt_id"] == pair.prefill.requests[0].header("x-request-id")


async def test_a_prefill_rank_that_counts_fewer_tokens_than_ids_it_was_sent_is_replaced() -> None:
    async with scripted_pair() as pair:
        pair.prefill2.script = answers(prefill_answer(usage={"prompt_tokens": 90}))
        await pair.served.complete(prompt=list(range(90)))
    assert pair.names() == ["P", "P2", "D"]


async def test_a_large_request_allows_no_larger_answer_of_its_prefill_rank() -> None:
    async with scripted_pair(answers(prefill_answer(x="x" * 8_000_000))) as pair:
        await pair.served.complete(prompt="x" * 6_000_000)
    assert pair.names() == ["P", "P2", "D"]


async def test_a_prefill_rank_that_takes_no_connection_is_shunned_and_replaced() -> None:
    async with scripted_pair() as pair:
        gone = card("http://127.0.0.1:9", rank="P", role=Role.PREFILL)
        pair.pool.view.ranks["P"] = pair.pool.view.ranks["P"]._replace(card=gone)  # type: ignore[index]
        response = await pair.served.complete()
    assert response.content == COMPLETION
    assert pair.pool.shunned == ["P"]
    assert pair.names() == ["P2", "D"]


async def test_after_two_prefill_ranks_that_failed_the_decode_rank_serves_alone() -> None:
    async with scripted_pair(breaks_off) as pair:
        pair.prefill2.script = answers(b"{}", "500 Internal Server Error")
        response = await pair.served.complete(max_tokens=9)
    assert response.content == COMPLETION
    assert pair.names() == ["P", "P2", "D"]
    assert "kv_transfer_params" not in sent(pair.decode)
    assert sent(pair.decode)["max_tokens"] == 9
    assert [shape.pairable for shape in pair.pool.asked] == [True, True, False]
