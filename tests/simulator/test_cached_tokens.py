"""What the usage tells of cached tokens, as in vLLM 0.32.0 with --enable-prompt-tokens-details."""

from collections.abc import Iterator
from typing import Any

import pytest

from simulator import chat_template
from tests.simulator import captures
from tests.simulator.prefill_decode import CHAT, COMPLETIONS, PrefillDecode, first_leg, prompt, running_pair

OPTIONS = ("--enable-prompt-tokens-details", "--block-size-tokens", "32", "--speed", "20")
USAGES = {(row["path"], row["name"]): row["usage"] for row in captures.values("cached_tokens")}


@pytest.fixture(scope="module")
def pair() -> Iterator[PrefillDecode]:
    with running_pair(*OPTIONS) as ranks:
        yield ranks


def body_of(path: str, tokens: int, seed: str) -> dict[str, Any]:
    """A request whose prompt has so many tokens."""
    if path == COMPLETIONS:
        return {"prompt": prompt(tokens, seed), "max_tokens": 3, "ignore_eos": True}
    frame = len(chat_template.render([{"role": "user", "content": ""}]))
    messages = [{"role": "user", "content": prompt(tokens - frame, seed)}]
    return {"messages": messages, "max_tokens": 3, "ignore_eos": True}


@pytest.mark.parametrize("path", [COMPLETIONS, CHAT])
def test_a_decode_rank_tells_what_the_prefill_rank_had_cached(pair: PrefillDecode, path: str) -> None:
    body = body_of(path, USAGES[path, "prefill, cold"]["prompt_tokens"], "cached or not ")
    for warmth in ("cold", "warm"):
        first = pair.prefill.post(path, first_leg(body)).json()
        assert first["usage"] == USAGES[path, f"prefill, {warmth}"]
        reply = pair.decode_with(path, body, first["kv_transfer_params"])
        assert reply.json()["usage"] == USAGES[path, f"decode, {warmth}"]


@pytest.mark.parametrize("path", [COMPLETIONS, CHAT])
def test_a_stream_tells_it_without_the_nulls_in_its_last_chunk_only(pair: PrefillDecode, path: str) -> None:
    expected = USAGES[path, "decode, warm, streamed"]
    body = body_of(path, expected["prompt_tokens"], "streamed ")
    pair.answer(path, body)
    options = {"include_usage": True, "continuous_usage_stats": True}
    reply = pair.decode_with(path, {**body, "stream": True, "stream_options": options}, pair.keep(path, body))
    *others, last = [event["usage"] for event in reply.events()]
    assert last == expected
    assert all("prompt_tokens_details" not in usage for usage in others)


def test_params_that_tell_something_else_are_believed(pair: PrefillDecode) -> None:
    body = body_of(CHAT, 212, "told ")
    usage = pair.decode_with(CHAT, body, {**pair.keep(CHAT, body), "remote_prefill_cached_tokens": 7}).json()["usage"]
    assert usage == USAGES[CHAT, "decode, told 7"]


def test_what_was_pulled_counts_as_cached_where_nothing_is_told(pair: PrefillDecode) -> None:
    body = body_of(CHAT, 212, "not told ")
    params = pair.keep(CHAT, body)
    del params["remote_prefill_cached_tokens"]
    assert pair.decode_with(CHAT, body, params).json()["usage"] == USAGES[CHAT, "decode, not told"]
