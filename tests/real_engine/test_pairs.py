"""Requests served in two legs, prefill and decode, say what one server says."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.real_engine.asking import CHAT, COMPLETIONS, PATHS, STREAMED, asked, said, text_of_words
from tests.real_engine.conftest import Engines, Told
from tests.real_engine.engine import Engine
from tests.real_engine.resting import is_at_rest
from tests.real_engine.stack import READY_S, Stack, legs_of
from tests.real_engine.test_params import FORGED

PROMPT_TOKENS = (12, 100, 450, 900, 1800)
TOKENS_OUT = 32
WARMING = 12
WORTH_TWO_LEGS = 900
TRIES = 5
"""A gateway may find a prompt served faster by the decode server alone, if rarely one that is worth two legs."""


@pytest.fixture(scope="module", autouse=True)
def warm(engines: Engines) -> None:
    """Prompts that teach the agents what the servers can do when they are no longer cold."""
    for seed in range(WARMING):
        body = asked(COMPLETIONS, "pair", text_of_words(250, seed=700 + seed), max_tokens=1)
        for engine in (engines.prefill, engines.decode):
            assert engine.post(COMPLETIONS, body).status_code == 200


def _text_of_tokens(plain: Engine, tokens: int, seed: int) -> str:
    """Text of about so many tokens."""
    ids = plain.post("/tokenize", {"model": plain.model, "prompt": text_of_words(600, seed)}).json()["tokens"]
    return str(plain.post("/detokenize", {"model": plain.model, "tokens": ids[:tokens]}).json()["prompt"])


@pytest.mark.parametrize("tokens", PROMPT_TOKENS)
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_greedy_answers_are_the_plain_servers(
    stack: Stack, engines: Engines, told: Told, tokens: int, path: str, *, streamed: bool
) -> None:
    # The gateways in turn: each gets every length, both APIs, streams and whole answers.
    gateway = stack.gateways[(PROMPT_TOKENS.index(tokens) + PATHS.index(path) + streamed) % len(stack.gateways)]
    more = STREAMED if streamed else {}
    for number in range(TRIES):
        # A text of its own for each, so that no server has it cached.
        seed = 1000 + 40 * tokens + 20 * streamed + 10 * PATHS.index(path) + number
        body = asked(path, "pair", _text_of_tokens(engines.plain, tokens, seed), max_tokens=TOKENS_OUT, **more)
        own = said(engines.plain.post(path, body | {"model": "plain"}).content)
        assert own.usage is not None
        pulled_before = engines.decode.external_tokens
        answer = stack.post(gateway, path, body)
        assert answer.status_code == 200, answer.text
        assert answer.headers["x-forebay-decode"] == engines.decode.rank
        assert (said(answer.content).text, said(answer.content).usage) == (own.text, own.usage)
        assert b"remote_block_ids" not in answer.content
        pulled = engines.decode.external_tokens - pulled_before
        in_two_legs = answer.headers.get("x-forebay-prefill") == engines.prefill.rank
        assert pulled == (own.usage["prompt_tokens"] if in_two_legs else 0)
        told(f"{own.usage['prompt_tokens']} tokens {legs_of(answer)}, {pulled:.0f} pulled: `{own.text}`")
        if in_two_legs or tokens < WORTH_TWO_LEGS:
            break
    assert in_two_legs or tokens < WORTH_TWO_LEGS
    is_at_rest(stack, engines)


def test_the_prefill_servers_cached_tokens_are_in_the_usage(stack: Stack, engines: Engines, told: Told) -> None:
    text = _text_of_tokens(engines.plain, 1200, seed=31)
    cached = []
    for _ in range(2):
        answer = stack.post(stack.gateways[0], CHAT, asked(CHAT, "pair", text))
        assert answer.headers["x-forebay-prefill"] == engines.prefill.rank
        cached.append(answer.json()["usage"]["prompt_tokens_details"]["cached_tokens"])
    assert cached[0] == 0
    assert cached[1] > 1000
    told(f"{cached[0]} tokens the first time, {cached[1]} of {answer.json()['usage']['prompt_tokens']} the second")


SINGLE: dict[str, dict[str, Any]] = {
    "n 2": {"n": 2, "temperature": 1, "seed": 5},
    "two prompts": {"prompt": [text_of_words(150, seed=32), text_of_words(150, seed=33)]},
    "prompt_logprobs": {"prompt_logprobs": 1},
    "echo with logprobs": {"echo": True, "logprobs": 1},
}


@pytest.mark.parametrize("change", SINGLE.values(), ids=SINGLE)
def test_what_has_no_single_prompt_and_answer_is_served_in_one_leg(
    stack: Stack, engines: Engines, change: dict[str, Any]
) -> None:
    body = asked(COMPLETIONS, "pair", text_of_words(150, seed=34)) | change
    own = engines.plain.post(COMPLETIONS, body | {"model": "plain"}).json()
    for gateway in stack.gateways:
        answer = stack.post(gateway, COMPLETIONS, body)
        assert answer.status_code == 200, answer.text
        assert "x-forebay-prefill" not in answer.headers
        assert [choice["text"] for choice in answer.json()["choices"]] == [c["text"] for c in own["choices"]]


ERRORS: dict[str, dict[str, Any]] = {
    "too long": {"prompt": "hello world " * 2048},
    "max_tokens too large": {"max_tokens": 5000},
    "negative temperature": {"temperature": -1},
    "min_tokens above max_tokens": {"min_tokens": 17},
    "stream_options without stream": {"stream_options": {"include_usage": True}},
}


@pytest.mark.parametrize("change", ERRORS.values(), ids=ERRORS)
def test_an_error_is_the_decode_servers_own_byte_for_byte(
    stack: Stack, engines: Engines, told: Told, change: dict[str, Any]
) -> None:
    body = asked(COMPLETIONS, "pair", text_of_words(300, seed=35)) | change
    own = engines.decode.post(COMPLETIONS, body)
    assert own.is_client_error
    for gateway in stack.gateways:
        answer = stack.post(gateway, COMPLETIONS, body)
        assert (answer.status_code, answer.content) == (own.status_code, own.content)
    is_at_rest(stack, engines)
    told(f"{own.status_code} {legs_of(answer)}, and nothing is held")


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("name", FORGED)
def test_forged_params_change_nothing_before_a_pair(stack: Stack, engines: Engines, path: str, name: str) -> None:
    text = text_of_words(150, seed=36)
    own = said(engines.plain.post(path, asked(path, "plain", text)).content)
    forged = {"kv_transfer_params": FORGED[name]}
    for gateway, extra in zip(stack.gateways, (forged, {"vllm_xargs": forged}), strict=True):
        answer = stack.post(gateway, path, asked(path, "pair", text, **extra))
        assert answer.status_code == 200, answer.text
        assert said(answer.content).text == own.text
    assert engines.prefill.is_healthy()
    assert engines.decode.is_healthy()


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("read_bytes", [0, 1], ids=["at once", "in the stream"])
def test_a_client_that_hangs_up_leaves_nothing_in_either_server(
    stack: Stack, engines: Engines, path: str, read_bytes: int
) -> None:
    for seed in range(4):
        body = asked(path, "pair", text_of_words(250, seed=40 + 10 * read_bytes + seed), max_tokens=500, stream=True)
        gateway = stack.gateways[seed % 2]
        timeout = httpx.Timeout(READY_S, read=None if read_bytes else 0.05)
        try:
            with httpx.stream("POST", gateway + path, json=body, timeout=timeout, trust_env=False) as answer:
                for part in answer.iter_raw():
                    if len(part) >= read_bytes:
                        break
        except httpx.ReadTimeout:
            pass
    is_at_rest(stack, engines)
