"""A gateway over strict simulated ranks serves every API: in two legs where that can be, and no KV is misused.

The ranks are real processes; the fixture ends only if no misuse was seen and no KV is left that nobody fetches.
"""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest

from tests.gateway.fake_pools import FakePools
from tests.gateway.running import Served, eventually, nothing_is_held, post, serving
from tests.gateway.test_strict_pairs import Ranks, running
from tests.simulator.oracle import right_chat_text, right_ids
from tests.sse import documents_of

TEXT = "Tell me of the river that runs through it. " * 30
TURN = {"role": "user", "content": TEXT}
IDS = list(range(20, 420))
SAMPLING = {"max_tokens": 20, "ignore_eos": True}
ASKED: dict[str, dict[str, Any]] = {
    "/v1/responses": {"model": "sim", "input": TEXT, "max_output_tokens": 20, "ignore_eos": True},
    "/v1/messages": {"model": "sim", "messages": [TURN], "max_tokens": 20},
    "/inference/v1/generate": {"model": "sim", "token_ids": IDS, "sampling_params": SAMPLING},
}
COMPUTED: dict[str, dict[str, Any]] = {
    "/v1/embeddings": {"input": [TEXT, "b"]},
    "/v2/embed": {"texts": ["a", "b"]},
    "/pooling": {"input": TEXT},
    "/classify": {"input": TEXT},
    "/score": {"queries": "a", "documents": ["b", "c"]},
    "/v1/score": {"queries": "a", "documents": ["b", "c"]},
    "/rerank": {"query": "a", "documents": ["b", "c"]},
    "/v1/rerank": {"query": "a", "documents": ["b", "c"]},
    "/v2/rerank": {"query": "a", "documents": ["b", "c"]},
    "/generative_scoring": {"query": "a", "items": ["b", "c"], "label_token_ids": [20, 21]},
    "/v1/chat/completions/batch": {"messages": [[TURN], [TURN]], "max_tokens": 4},
    "/invocations": {"prompt": "x", "max_tokens": 4},
    "/tokenize": {"prompt": "x"},
    "/detokenize": {"tokens": [20]},
    "/v1/messages/count_tokens": {"messages": [TURN]},
    "/v1/chat/completions/render": {"messages": [TURN]},
    "/v1/completions/render": {"prompt": "x"},
    "/v1/messages/render": {"messages": [TURN], "max_tokens": 4},
    "/v1/responses/render": {"input": TEXT},
}


@pytest.fixture(scope="module")
def ranks() -> Iterator[Ranks]:
    with running() as running_ranks:
        yield running_ranks


def right(path: str) -> str:
    if path == "/inference/v1/generate":
        return str(right_ids(IDS, 20, ignore_eos=True))
    return right_chat_text([TURN], 20, ignore_eos=path == "/v1/responses")


def said(events: list[dict[str, Any]]) -> str:
    """What an answer says, or the events of one that is streamed."""
    ids = [token for event in events for choice in event.get("choices", ()) for token in choice["token_ids"]]
    return str(ids) if ids else "".join(map(_text_of, events))


def _text_of(event: dict[str, Any]) -> str:
    parts = [part for item in event.get("output", ()) for part in item["content"]] + event.get("content", [])
    delta = event.get("delta", "")
    return "".join(part["text"] for part in parts) or (delta if isinstance(delta, str) else delta.get("text", ""))


def usage_of(events: list[dict[str, Any]]) -> dict[str, int]:
    """The last usage there is, with every token of the prompt in it."""
    found = [event.get("usage") or (event.get("response") or {}).get("usage") for event in events]
    return dict(next(each for each in reversed(found) if each))


def counted(usage: dict[str, Any]) -> tuple[int, int]:
    """Tokens in and out."""
    if "prompt_tokens" in usage:
        return usage["prompt_tokens"], usage["completion_tokens"]
    cached = [usage.get(f"cache_{done}_input_tokens") or 0 for done in ("read", "creation")]
    return usage["input_tokens"] + sum(cached), usage["output_tokens"]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", ASKED)
async def test_every_api_says_in_two_legs_what_the_model_says(ranks: Ranks, path: str, stream: bool) -> None:
    body = ASKED[path] | {"stream": stream}
    if stream and path == "/inference/v1/generate":
        body["stream_options"] = {"include_usage": True}
    async with serving(FakePools(ranks.pool())) as served:
        before = ranks.fetched_tokens()
        for _ in range(2):
            response = await served.client.post(path, json=body)
            assert response.status_code == 200, response.text
            events = documents_of(response.text) if stream else [response.json()]
            assert said(events) == right(path)
            prompt, answer = counted(usage_of(events))
            assert answer == 20
            assert prompt == len(IDS) or path != "/inference/v1/generate"
            assert "remote_block_ids" not in response.text
        assert ranks.fetched_tokens() > before
        await eventually(ranks.are_idle)


@pytest.mark.parametrize("path", ASKED)
async def test_a_client_that_leaves_frees_the_kv_on_both_ranks(ranks: Ranks, path: str) -> None:
    pool = ranks.pool()
    endless = json.loads(json.dumps(ASKED[path]).replace(": 20,", ": 2000,").replace(": 20}", ": 2000}"))
    async with serving(FakePools(pool)) as served:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        writer.write(post(path, json.dumps(endless | {"stream": True}).encode()))
        await reader.readuntil(b"data: ")
        await eventually(lambda: "first_token" in pool.words())
        writer.close()
        await eventually(lambda: nothing_is_held(served, pool))
        await eventually(ranks.are_idle)


@pytest.mark.parametrize("path", COMPUTED)
async def test_what_has_one_leg_is_answered_by_one_rank(ranks: Ranks, path: str) -> None:
    async with serving(FakePools(ranks.pool())) as served:
        response = await served.client.post(path, json={"model": "sim"} | COMPUTED[path])
        assert response.status_code == 200, response.text
        await eventually(ranks.are_idle)


async def test_a_response_is_found_and_gone_on_from(ranks: Ranks) -> None:
    async with serving(FakePools(ranks.pool())) as served, client_of(served) as client:
        first = await client.responses.create(model="sim", input=TEXT, max_output_tokens=8)
        assert (await client.responses.retrieve(first.id)).output_text == first.output_text
        more = await client.responses.create(
            model="sim", input="More.", previous_response_id=first.id, max_output_tokens=8
        )
        talk = [TURN, {"role": "assistant", "content": first.output_text}, {"role": "user", "content": "More."}]
        assert more.output_text == right_chat_text(talk, 8)
        await eventually(ranks.are_idle)


async def test_audio_is_transcribed(ranks: Ranks) -> None:
    async with serving(FakePools(ranks.pool())) as served, client_of(served) as client:
        made = await client.audio.transcriptions.create(model="sim", file=("a.wav", b"some sound" * 400))
        assert made.text
        await eventually(ranks.are_idle)


def client_of(served: Served) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=f"{served.url}/v1", api_key="none", max_retries=0)
