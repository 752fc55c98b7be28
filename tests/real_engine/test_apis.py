"""Responses, messages and generation from ids: served in two legs they say what one server says."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import httpx
import pytest

from tests.real_engine.asking import COMPLETIONS, text_of_words
from tests.real_engine.conftest import Engines, Told
from tests.real_engine.engine import ANSWER_S, Engine
from tests.real_engine.resting import is_at_rest
from tests.real_engine.stack import Stack, legs_of

RESPONSES = "/v1/responses"
MESSAGES = "/v1/messages"
GENERATE = "/inference/v1/generate"
PATHS = (RESPONSES, MESSAGES, GENERATE)
WORDS = 250
TRIES = 5
"""A gateway may find that the decode server alone is faster."""


class Said(NamedTuple):
    """What an answer says: its text, or ids; how it ended; and how many tokens went in and came out."""

    said: str
    ended: str
    counted: tuple[int, int]


def asked(engines: Engines, path: str, text: str, **more: Any) -> dict[str, Any]:
    """A greedy request for 16 tokens."""
    if path == RESPONSES:
        return {"model": "pair", "input": text, "max_output_tokens": 16, "temperature": 0, "ignore_eos": True} | more
    if path == MESSAGES:
        turn = {"role": "user", "content": text}
        return {"model": "pair", "messages": [turn], "max_tokens": 16, "temperature": 0} | more
    ids = engines.plain.post("/tokenize", {"model": engines.plain.model, "prompt": text}).json()["tokens"]
    sampling = {"max_tokens": 16, "temperature": 0, "ignore_eos": True}
    return {"model": "pair", "token_ids": ids, "sampling_params": sampling} | more


def said(path: str, body: bytes) -> Said:
    """Reads a whole answer, or a stream."""
    if body.startswith(b"{"):
        return _of_whole(path, json.loads(body))
    events = [json.loads(line[6:]) for line in body.decode().splitlines() if line.startswith("data: {")]
    assert not any(event.get("error") or event.get("type") == "error" for event in events), events
    if path == RESPONSES:
        assert events[-1]["type"] == "response.completed"
        deltas = [event["delta"] for event in events if event["type"] == "response.output_text.delta"]
        whole = _of_whole(path, events[-1]["response"])
        assert whole.said == "".join(deltas)
        return whole
    if path == MESSAGES:
        assert (events[0]["type"], events[-1]["type"]) == ("message_start", "message_stop")
        text = "".join(event["delta"].get("text", "") for event in events if event["type"] == "content_block_delta")
        last = events[-2]
        return Said(text, last["delta"]["stop_reason"], _counted(last["usage"]))
    assert body.endswith(b"data: [DONE]\n\n")
    ids = [one for event in events for choice in event["choices"] for one in choice["token_ids"]]
    ended = [choice["finish_reason"] for event in events for choice in event["choices"]]
    return Said(str(ids), ended[-1], _counted(events[-1]["usage"]))


def _of_whole(path: str, answer: dict[str, Any]) -> Said:
    counted = _counted(answer["usage"])
    if path == RESPONSES:
        texts = [part["text"] for item in answer["output"] for part in item["content"]]
        return Said("".join(texts), answer["status"], counted)
    if path == MESSAGES:
        return Said("".join(part["text"] for part in answer["content"]), answer["stop_reason"], counted)
    (choice,) = answer["choices"]
    return Said(str(choice["token_ids"]), choice["finish_reason"], counted)


def _counted(usage: dict[str, Any]) -> tuple[int, int]:
    """Tokens in and out. Anthropic's input_tokens are those that were neither found in a cache nor put into one: of a
    pair the prefill server has put them there, which the decode server's usage does not say.
    """
    if "prompt_tokens" in usage:
        return usage["prompt_tokens"], usage["completion_tokens"]
    cached = [usage.get(f"cache_{done}_input_tokens") or 0 for done in ("read", "creation")]
    return usage["input_tokens"] + sum(cached), usage["output_tokens"]


@pytest.fixture(scope="module", autouse=True)
def warm(engines: Engines) -> None:
    """Prompts that teach the agents what the servers can do when they are no longer cold."""
    for seed in range(12):
        body = {"model": "pair", "prompt": text_of_words(WORDS, seed=9700 + seed), "max_tokens": 1}
        for engine in (engines.prefill, engines.decode):
            assert engine.post(COMPLETIONS, body).status_code == 200


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_greedy_answers_of_every_api_are_the_plain_servers(
    stack: Stack, engines: Engines, told: Told, path: str, *, streamed: bool
) -> None:
    more: dict[str, Any] = {"stream": True} if streamed else {}
    if streamed and path == GENERATE:
        more["stream_options"] = {"include_usage": True}
    for number in range(TRIES):
        text = text_of_words(WORDS, seed=9000 + 100 * PATHS.index(path) + 20 * streamed + number)
        body = asked(engines, path, text, **more)
        own = said(path, engines.plain.post(path, body | {"model": "plain"}).content)
        pulled_before = engines.decode.external_tokens
        answer = stack.post(stack.gateways[number % len(stack.gateways)], path, body)
        assert answer.status_code == 200, answer.text
        assert said(path, answer.content) == own
        assert b"remote_block_ids" not in answer.content
        in_two_legs = answer.headers.get("x-forebay-prefill") == engines.prefill.rank
        pulled = engines.decode.external_tokens - pulled_before
        assert pulled == (own.counted[0] if in_two_legs else 0)
        told(f"{path}: {own.counted[0]} tokens {legs_of(answer)}, {pulled:.0f} pulled: `{own.said}`")
        if in_two_legs:
            break
    assert in_two_legs
    is_at_rest(stack, engines)


@pytest.mark.parametrize("path", PATHS)
def test_what_the_prefill_server_had_cached_is_in_the_usage_of_every_api(
    stack: Stack, engines: Engines, told: Told, path: str
) -> None:
    body = asked(engines, path, text_of_words(WORDS, seed=9500 + PATHS.index(path)))
    cached = []
    for _ in range(TRIES):
        answer = stack.post(stack.gateways[0], path, body)
        if answer.headers.get("x-forebay-prefill") != engines.prefill.rank:
            continue
        usage = answer.json()["usage"]
        details = usage.get("prompt_tokens_details") or usage.get("input_tokens_details") or {}
        cached.append(details.get("cached_tokens", usage.get("cache_read_input_tokens", 0)) or 0)
    assert cached[0] < cached[1]
    told(f"{path}: {cached[0]} cached tokens the first time, {cached[1]} the second")


@pytest.mark.parametrize("path", [MESSAGES, RESPONSES])
def test_a_refusal_of_the_gateway_has_the_shape_of_the_engines(stack: Stack, engines: Engines, path: str) -> None:
    body = asked(engines, path, "hello")
    own = engines.plain.post(path, body | {"model": "nobody"})
    answer = stack.post(stack.gateways[0], path, body | {"model": "nobody"})
    assert answer.status_code == own.status_code == 404
    assert answer.json().keys() == own.json().keys()
    assert answer.json()["error"].keys() == own.json()["error"].keys()
    assert answer.json()["error"]["type"] == own.json()["error"]["type"]


def test_a_response_is_found_and_gone_on_from_through_every_gateway(stack: Stack, plain: Engine, told: Told) -> None:
    body = {"model": plain.model, "input": "Tell me of turbines.", "max_output_tokens": 16, "temperature": 0}
    made = stack.post(stack.gateways[0], RESPONSES, body).json()
    for gateway in stack.gateways:
        with httpx.Client(base_url=gateway, timeout=ANSWER_S, trust_env=False) as client:
            assert client.get(f"{RESPONSES}/{made['id']}").json()["output"] == made["output"]
            assert client.post(f"{RESPONSES}/{made['id']}/cancel").status_code == 400
            unknown = client.get(f"{RESPONSES}/resp_unknown")
        assert (unknown.status_code, unknown.json()) == (404, _own_of_unknown(plain))
        more = stack.post(gateway, RESPONSES, body | {"input": "And more.", "previous_response_id": made["id"]})
        assert more.status_code == 200, more.text
        assert more.json()["usage"]["input_tokens"] > made["usage"]["input_tokens"]
    told(f"{made['usage']['input_tokens']} tokens in, then {more.json()['usage']['input_tokens']}")


def _own_of_unknown(plain: Engine) -> Any:
    return httpx.get(f"{plain.url}{RESPONSES}/resp_unknown", timeout=ANSWER_S, trust_env=False).json()
