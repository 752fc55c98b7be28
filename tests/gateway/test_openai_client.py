"""OpenAI's own client: each route it has here, each error as the exception its users expect, and its time-outs."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import httpx
import openai
import pytest
from openai import AsyncOpenAI

from scheduler.decision import Reject, Wait
from tests.gateway.fake_pools import NOWHERE, FakePool, FakePools, card
from tests.gateway.receiving_rank import receiving_rank
from tests.gateway.running import Served, eventually, nothing_is_held, serving
from tests.gateway.scripted_rank import (
    NO_MORE,
    STREAM_HEAD,
    Exchange,
    Script,
    ScriptedRank,
    chunk,
    dies_in_its_answer,
    scripted_rank,
    stalls,
    stalls_after_an_event,
    streams,
)

KEY = "sesame"
JSON_TYPE = "content-type: application/json"
MESSAGES: Any = [{"role": "user", "content": "hi"}]
USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}


class Talking(NamedTuple):
    """A client of a gateway with one rank."""

    client: AsyncOpenAI
    served: Served
    pool: FakePool
    rank: ScriptedRank


@asynccontextmanager
async def talking(script: Script, *, client_options: dict[str, Any] | None = None, **options: Any) -> AsyncIterator[
    Talking
]:  # fmt: skip
    async with (
        scripted_rank(script) as rank,
        serving(FakePools(pool := FakePool(card(rank.url))), api_key=(KEY,), **options) as served,
        AsyncOpenAI(base_url=f"{served.url}/v1", api_key=KEY, max_retries=0, **client_options or {}) as client,
    ):
        yield Talking(client, served, pool, rank)


def answers(**fields: Any) -> Script:
    """A whole answer."""

    async def script(exchange: Exchange) -> None:
        await exchange.answer(
            "200 OK", json.dumps({"id": "1", "created": 1, "model": "sim"} | fields).encode(), JSON_TYPE
        )

    return script


async def chats(exchange: Exchange) -> None:
    """A chat, streamed if that is asked for."""
    asked = json.loads(exchange.request.body)
    if not asked.get("stream"):
        message = {"role": "assistant", "content": "hello"}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        await answers(object="chat.completion", choices=[choice], usage=USAGE)(exchange)
        return
    deltas = [{"role": "assistant", "content": ""}, {"content": "hel"}, {"content": "lo"}]
    events: list[dict[str, object]] = [
        {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas
    ]
    ends: dict[str, object] = {"choices": [], "usage": USAGE}
    common = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "sim"}
    parts = [b"data: " + json.dumps(common | event).encode() + b"\n\n" for event in (*events, ends)]
    await exchange.send(STREAM_HEAD, *map(chunk, parts), chunk(b"data: [DONE]\n\n"), NO_MORE)


async def test_a_chat_is_the_same_whole_and_streamed() -> None:
    async with talking(chats) as talk:
        ask = talk.client.chat.completions.create
        whole = await ask(model="sim", messages=MESSAGES)
        stream = await ask(model="sim", messages=MESSAGES, stream=True, stream_options={"include_usage": True})
        events = [event async for event in stream]
    assert whole.choices[0].message.content == "hello"
    assert "".join(event.choices[0].delta.content or "" for event in events if event.choices) == "hello"
    assert whole.usage is not None
    assert events[-1].usage == whole.usage


async def test_a_completion_is_streamed() -> None:
    async with talking(streams) as talk:
        stream = await talk.client.completions.create(model="sim", prompt="x", stream=True)
        assert [event.choices[0].text async for event in stream if event.choices] == ["h", "i"]


async def test_embeddings_are_computed() -> None:
    data = [{"index": 0, "object": "embedding", "embedding": [0.25, -0.5]}]
    async with talking(answers(object="list", data=data, usage=USAGE)) as talk:
        found = await talk.client.embeddings.create(model="sim", input="x", encoding_format="float")
    assert found.data[0].embedding == [0.25, -0.5]


async def test_models_are_listed() -> None:
    async with talking(stalls) as talk:
        assert [model.id async for model in talk.client.models.list()] == ["sim"]


@pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning")  # the client's word of its own route
async def test_audio_is_transcribed_and_translated() -> None:
    async with (
        receiving_rank() as rank,
        serving(FakePools(FakePool(card(rank.url)))) as served,
        AsyncOpenAI(base_url=f"{served.url}/v1", api_key=KEY, max_retries=0) as client,
    ):
        transcribed = await client.audio.transcriptions.create(model="sim", file=("a.wav", b"RIFF"))
        translated = await client.audio.translations.create(model="sim", file=("a.wav", b"RIFF"))
    assert transcribed.text == translated.text == "hello"


def refuses(status: int) -> Script:
    """As vLLM words it."""

    async def script(exchange: Exchange) -> None:
        error = {"message": "no", "type": "X", "param": "n", "code": status}
        await exchange.answer(f"{status} X", json.dumps({"error": error}).encode(), JSON_TYPE)

    return script


@pytest.mark.parametrize(
    ("status", "raised"),
    [
        (400, openai.BadRequestError),
        (404, openai.NotFoundError),
        (422, openai.UnprocessableEntityError),
        (429, openai.RateLimitError),
        (500, openai.InternalServerError),
        (503, openai.InternalServerError),
    ],
)
async def test_what_a_rank_refuses_is_raised_as_of_the_rank(status: int, raised: type[openai.APIStatusError]) -> None:
    async with talking(refuses(status)) as talk:
        with pytest.raises(raised) as found:
            await talk.client.completions.create(model="sim", prompt="x", n=2)
    assert (found.value.status_code, found.value.param, found.value.message) == (status, "n", found.value.message)
    assert "no" in found.value.message


Ask = Callable[[Talking], Awaitable[object]]


def completion(**fields: Any) -> Ask:
    return lambda talk: talk.client.completions.create(**{"model": "sim", "prompt": "x"} | fields)


def placed_as(decision: Wait | Reject) -> Ask:
    """A completion that is not placed."""

    def ask(talk: Talking) -> Awaitable[object]:
        talk.pool.answer = decision
        return completion()(talk)

    return ask


def nowhere(talk: Talking) -> Awaitable[object]:
    """A completion that is placed on a rank nobody reaches."""
    talk.pool.view = FakePool(NOWHERE).view
    return completion()(talk)


def unknown_key(talk: Talking) -> Awaitable[object]:
    return talk.client.with_options(api_key="wrong").completions.create(model="sim", prompt="x")


LATE = {"x-request-timeout-ms": "50"}
OURS: dict[str, tuple[int, type[openai.APIStatusError], Script, Ask]] = {
    "a deadline that is none": (
        400, openai.BadRequestError, stalls, completion(extra_headers={"x-request-timeout-ms": "soon"})),
    "an unknown key": (401, openai.AuthenticationError, stalls, unknown_key),
    "an unknown model": (404, openai.NotFoundError, stalls, completion(model="nope")),
    "a body that is too large": (413, openai.APIStatusError, stalls, completion(prompt="x" * 10_000)),
    "a pool that is full": (429, openai.RateLimitError, stalls, placed_as(Wait(retry_after_ms=1500))),
    "a rank that is not there": (502, openai.InternalServerError, stalls, nowhere),
    "a rank that dies": (502, openai.InternalServerError, dies_in_its_answer, completion()),
    "no rank": (503, openai.InternalServerError, stalls, placed_as(Reject(reason="none is up"))),
    "a deadline that passes": (504, openai.InternalServerError, stalls, completion(extra_headers=LATE)),
}  # fmt: skip


@pytest.mark.parametrize("name", OURS)
async def test_what_the_gateway_refuses_is_raised_as_what_it_is(name: str) -> None:
    status, raised, script, ask = OURS[name]
    async with talking(script, max_body_bytes=5_000, rank_wait_ms=0) as talk:
        with pytest.raises(raised) as found:
            await ask(talk)
        await eventually(lambda: nothing_is_held(talk.served, talk.pool))
        await eventually(lambda: talk.rank.open_connections == 0)
    assert (found.value.status_code, json.loads(found.value.code or "0")) == (status, status)
    assert found.value.type
    assert ("retry-after" in found.value.response.headers) == (status in {429, 503})


async def test_a_stream_that_breaks_off_raises_after_its_last_event() -> None:
    async def dies(exchange: Exchange) -> None:
        await exchange.send(STREAM_HEAD, chunk(b'data: {"choices":[{"index":0,"text":"h","finish_reason":null}]}\n\n'))
        exchange.abort()

    async with talking(dies) as talk:
        stream = await talk.client.completions.create(model="sim", prompt="x", stream=True)
        assert (await anext(aiter(stream))).choices[0].text == "h"
        with pytest.raises(openai.APIError, match="broke off"):
            await anext(aiter(stream))


@pytest.mark.parametrize(("script", "stream"), [(stalls, False), (stalls, True), (stalls_after_an_event, True)])
async def test_a_client_that_loses_its_patience_leaves_nothing_behind(script: Script, stream: bool) -> None:
    async def ask(client: AsyncOpenAI) -> None:
        answer: Any = await client.completions.create(model="sim", prompt="x", stream=stream)
        async for _ in answer:
            pass

    async with talking(script, client_options={"timeout": 1.0}) as talk:
        # Of a stream that has begun the client lets httpx's own error through.
        with pytest.raises((openai.APITimeoutError, httpx.ReadTimeout)):
            await ask(talk.client)
        await eventually(lambda: talk.rank.open_connections == 0)
        await eventually(lambda: nothing_is_held(talk.served, talk.pool))
    assert talk.pool.releases() == {1: 1}


async def test_a_stream_that_is_closed_early_leaves_nothing_behind() -> None:
    async with talking(stalls_after_an_event) as talk:
        async with await talk.client.completions.create(model="sim", prompt="x", stream=True) as stream:
            await anext(aiter(stream))
        await eventually(lambda: talk.rank.open_connections == 0)
        await eventually(lambda: nothing_is_held(talk.served, talk.pool))
    assert talk.pool.releases() == {1: 1}
