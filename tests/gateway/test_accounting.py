"""What is counted of the tokens that requests use, whoever asks for it and however they end."""

import asyncio
import json
from random import Random
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from gateway.access import RequestRecord
from gateway.accounting import accounted
from gateway.relay import WHOLE_BYTES
from gateway.reply import ClientGoneError
from tests.gateway.fake_pools import NOWHERE, FakePool, FakePools, card, pools_of_nobody
from tests.gateway.form import FORM_TYPE, field, file, form
from tests.gateway.hanging_up import send_and_hang_up
from tests.gateway.limited import eventually_used, limited, used
from tests.gateway.named_keys import bearing, named
from tests.gateway.running import CHAT, COMPLETIONS, Served, eventually, nothing_is_held, post, serving
from tests.gateway.scripted_pair import answers, prefills, scripted_pair, sent
from tests.gateway.scripted_rank import (
    EVENTS,
    STREAM_HEAD,
    USAGE,
    WITH_USAGE,
    Exchange,
    Script,
    breaks_off,
    chunk,
    dies_in_its_answer,
    scripted_rank,
    stalls,
    stalls_after_an_event,
    streams,
)

UNREPORTED = "forebay_gateway_unreported_prompt_tokens"
GENERATE = "/inference/v1/generate"
ASK = {"prompt": "x", "messages": [], "token_ids": [1, 2], "sampling_params": {"max_tokens": 5}}


async def counted(served: Served, name: str = "forebay_gateway_tokens") -> dict[str, float]:
    """The tokens on the metrics page, by kind."""
    page = (await served.client.get("/metrics")).text
    samples = [one for family in text_string_to_metric_families(page) for one in family.samples]
    return {one.labels.get("kind", ""): one.value for one in samples if one.name == f"{name}_total"}


@pytest.mark.parametrize("path", [COMPLETIONS, CHAT, GENERATE, "/invocations"])
@pytest.mark.parametrize("options", [None, {}, {"include_usage": False}, {"continuous_usage_stats": True}])
async def test_a_stream_is_accounted_for_though_its_client_does_not_ask(path: str, options: Any) -> None:
    async with scripted_rank(streams) as rank, serving(FakePools(FakePool(card(rank.url)))) as served:
        response = await served.client.post(path, json=ASK | {"stream": True, "stream_options": options})
        assert await counted(served) == {"prompt": 12, "completion": 2}
    assert response.content == b"".join(EVENTS)
    assert json.loads(rank.requests[0].body)["stream_options"] == {"include_usage": True}


@pytest.mark.parametrize("dies", [True, False])
async def test_the_end_of_an_answer_that_waits_for_its_usage_goes_before_the_error(dies: bool) -> None:
    """The rank's death, or the end of the time that the client has given."""

    async def never_tells_its_usage(exchange: Exchange) -> None:
        await exchange.send(STREAM_HEAD, *map(chunk, EVENTS[:2]))
        if dies:
            exchange.abort()
        else:
            await asyncio.Event().wait()

    async with scripted_rank(never_tells_its_usage) as rank, serving(FakePools(FakePool(card(rank.url)))) as served:
        response = await served.complete(stream=True, headers={} if dies else {"x-request-timeout-ms": "2000"})
    assert response.content.startswith(EVENTS[0] + EVENTS[1] + b'data: {"error":')


@pytest.mark.parametrize(
    ("attempt_id", "is_cutting", "is_counted"), [("a", False, True), ("", False, False), ("a", True, False)]
)
async def test_what_no_rank_worked_on_or_the_gateway_cuts_is_counted_for_nobody(
    attempt_id: str, is_cutting: bool, is_counted: bool
) -> None:
    record = RequestRecord(id="1", client_id=None, route="", started_s=0.0, pool="sim", attempt_id=attempt_id)
    async with serving(pools_of_nobody()) as served:
        served.gateway.stopping = True
        served.gateway.is_cutting = is_cutting
        with pytest.raises(ClientGoneError), accounted(served.gateway, record, 7):
            raise ClientGoneError
        assert await counted(served, UNREPORTED) == ({"": 7.0} if is_counted else {})


@pytest.mark.parametrize("options", ["null", [], 5, {"include_usage": "null"}, {"include_usage": "maybe"}])
async def test_options_that_no_engine_takes_reach_the_rank_as_they_came(options: Any) -> None:
    async with scripted_rank() as rank, serving(FakePools(FakePool(card(rank.url)))) as served:
        response = await served.complete(stream=True, stream_options=options)
        assert response.status_code == 200
    assert json.loads(rank.requests[0].body)["stream_options"] == options


@pytest.mark.parametrize("fields", [{"stream": "yes"}, {"stream": True, "stream_options": {"include_usage": "no"}}])
async def test_no_spelling_of_a_boolean_evades_the_account(fields: dict[str, Any]) -> None:
    async with scripted_rank(streams) as rank, serving(FakePools(FakePool(card(rank.url)))) as served:
        response = await served.complete(**fields)
        assert await counted(served) == {"prompt": 12, "completion": 2}
    assert response.content == b"".join(EVENTS)


async def test_the_usage_that_a_client_asks_for_reaches_it() -> None:
    options = {"include_usage": True, "continuous_usage_stats": False}
    async with scripted_rank(streams) as rank, serving(FakePools(FakePool(card(rank.url)))) as served:
        response = await served.complete(stream=True, stream_options=options)
        assert await counted(served) == {"prompt": 12, "completion": 2}
    assert response.content == b"".join(WITH_USAGE)
    assert json.loads(rank.requests[0].body)["stream_options"] == options


async def test_a_stream_of_a_pair_is_accounted_for_and_only_its_decode_rank_is_asked() -> None:
    async with scripted_pair(prefills, streams) as pair:
        response = await pair.served.complete(stream=True)
        assert await counted(pair.served) == {"prompt": 12, "completion": 2}
    assert response.content == b"".join(EVENTS)
    assert "stream_options" not in sent(pair.prefill)
    assert sent(pair.decode)["stream_options"] == {"include_usage": True}


async def test_what_is_asked_of_no_stream_reaches_the_rank_as_it_came() -> None:
    async with scripted_rank() as rank, serving(FakePools(FakePool(card(rank.url)))) as served:
        for path, body in ((COMPLETIONS, {"prompt": "x"}), ("/v1/embeddings", {"input": "x", "stream": True})):
            await served.client.post(path, json=body)
            assert json.loads(rank.requests[-1].body) == body


async def test_what_a_stream_used_teaches_the_estimate() -> None:
    async with scripted_rank(streams) as rank, serving(FakePools(pool := FakePool(card(rank.url)))) as served:
        for _ in range(200):
            await served.complete(prompt="x" * 120, stream=True)
        await eventually(lambda: not pool.live)
    assert pool.asked[0].prompt_tokens == 30
    assert 12 <= pool.asked[-1].prompt_tokens <= 13


EMBEDDINGS = b'{"object":"list","data":[%b],"usage":{"prompt_tokens":7,"total_tokens":7,"completion_tokens":0}}'


@pytest.mark.parametrize("size", [10, WHOLE_BYTES + 10])
async def test_what_is_embedded_is_accounted_for_however_large_the_answer(size: int) -> None:
    script = answers(EMBEDDINGS % (b" " * size))
    async with scripted_rank(script) as rank, serving(FakePools(FakePool(card(rank.url)))) as served:
        await served.client.post("/v1/embeddings", json={"input": "x"})
        assert await counted(served) == {"prompt": 7, "completion": 0}


@pytest.mark.parametrize("path", [COMPLETIONS, "/rerank"])
async def test_an_answer_that_is_not_streamed_is_accounted_for(path: str) -> None:
    async with scripted_pair() as pair:
        await pair.served.client.post(path, json=ASK)
        assert await counted(pair.served) == {"prompt": 12, "completion": 1}


async def test_a_transcript_that_tells_tokens_is_accounted_for() -> None:
    async with scripted_rank() as rank, serving(FakePools(FakePool(card(rank.url)))) as served:
        content = form(field("model", "sim"), file(b"x"))
        await served.client.post("/v1/audio/transcriptions", content=content, headers={"content-type": FORM_TYPE})
        assert await counted(served) == {"prompt": 12, "completion": 1}


@pytest.mark.parametrize("stream", [True, False])
async def test_of_a_request_that_its_client_leaves_the_prompt_is_counted_as_estimated(stream: bool) -> None:
    script = stalls_after_an_event if stream else stalls
    async with scripted_rank(script) as rank, serving(FakePools(pool := FakePool(card(rank.url)))) as served:
        raw = post(COMPLETIONS, json.dumps({"prompt": "x" * 400, "stream": stream}).encode())

        async def has_come(_: asyncio.StreamReader) -> None:
            await eventually(lambda: bool(rank.requests))

        await send_and_hang_up(served.port, raw, Random(1), within_s=0, earliest=has_come)
        await eventually(lambda: nothing_is_held(served, pool))
        assert await counted(served, UNREPORTED) == {"": 100}
        assert await counted(served) == {}


async def test_a_client_that_leaves_before_the_end_of_a_stream_whose_usage_is_told_is_accounted_for() -> None:
    async def tells_and_waits(exchange: Exchange) -> None:
        await exchange.send(STREAM_HEAD, *map(chunk, WITH_USAGE[:-1]))
        await exchange.until_closed()

    async with scripted_rank(tells_and_waits) as rank, serving(FakePools(pool := FakePool(card(rank.url)))) as served:
        async with served.client.stream("POST", COMPLETIONS, json={"prompt": "x", "stream": True}) as response:
            text = b""
            async for part in response.aiter_bytes():
                text += part
                if text == b"".join(EVENTS[:-1]):
                    break
        await eventually(lambda: nothing_is_held(served, pool))
        assert await counted(served) == {"prompt": 12, "completion": 2}
        assert await counted(served, UNREPORTED) == {}


ROLE = b'data: {"choices":[{"index":0,"delta":{"role":"assistant","content":""}}],%b}\n\n' % USAGE
WORD = b'data: {"choices":[{"index":0,"delta":{"content":"a"}}],%b}\n\n' % USAGE


@pytest.mark.parametrize("events", [[ROLE], [ROLE, WORD]], ids=["before its first token", "after it"])
async def test_what_a_rank_told_of_a_stream_that_it_did_not_end_is_counted_for_nobody(events: list[bytes]) -> None:
    """As it tells with each event where `continuous_usage_stats` ask for it."""

    async def dies(exchange: Exchange) -> None:
        await exchange.send(STREAM_HEAD, *map(chunk, events))
        exchange.abort()

    key = named("team", tokens_per_minute=1_000, requests_per_minute=9)
    async with scripted_rank(dies) as rank:
        pool = FakePool(card(rank.url), NOWHERE)
        async with limited(FakePools(pool), key) as (served, store):
            body = {"messages": [], "stream": True, "stream_options": {"include_usage": True}}
            await served.client.post(CHAT, json=body, headers=bearing("team"))
            assert rank.requests
            assert await counted(served) == await counted(served, UNREPORTED) == {}
            await eventually_used(store, 0)
            assert await used(store, "team") == [1, 0]


@pytest.mark.parametrize("script", [breaks_off, dies_in_its_answer, answers(b'{"error":{}}', "400 Bad Request")])
async def test_what_fails_or_is_refused_is_counted_for_nobody(script: Script) -> None:
    async with scripted_rank(script) as rank, serving(FakePools(FakePool(card(rank.url)))) as served:
        await served.complete()
        assert await counted(served) == await counted(served, UNREPORTED) == {}
