"""What becomes of a prefill rank's KV when the decode rank refuses the request, as vLLM 0.32.0 was seen to do."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.simulator import captures
from tests.simulator.captures import Answered
from tests.simulator.prefill_decode import (
    CHAT,
    COMPLETIONS,
    PrefillDecode,
    ask,
    first_leg,
    kv_usage,
    prompt,
    running_pair,
)
from tests.simulator.rank_process import eventually, request, running_rank

OPTIONS = ("--model", "tiny", "--max-model-len", "2048", "--block-size-tokens", "32", "--speed", "20")
REFUSED = captures.answered("refused_on_decode")
FREED = [row["freed"] for row in captures.values("refused_on_decode")]
LEGS: dict[str, dict[str, Any]] = {
    COMPLETIONS: ask(prompt(300), 6, ignore_eos=True),
    CHAT: {"messages": [{"role": "user", "content": prompt(300)}], "max_tokens": 6, "ignore_eos": True},
}
LONG = "hello world " * 3000
WRONG: dict[str, dict[str, Any]] = {
    "unknown model": {"model": "nope"},
    "unknown model, streamed": {"model": "nope", "stream": True},
    "too long": {"prompt": LONG, "messages": [{"role": "user", "content": LONG}]},
    "max_tokens too big": {"max_tokens": 5000},
    "temperature -1": {"temperature": -1},
    "n 0": {"n": 0},
    "prompt 5": {"prompt": 5},
    "prompt empty": {"prompt": ""},
    "no role": {"messages": [{"content": "x"}]},
}
KEYS = ("remote_block_ids", "remote_engine_id", "remote_request_id", "remote_host", "remote_port")


@pytest.fixture(scope="module")
def pair() -> Iterator[PrefillDecode]:
    with running_pair(*OPTIONS) as ranks:
        yield ranks


@pytest.mark.parametrize(
    ("captured", "freed"), list(zip(REFUSED, FREED, strict=True)), ids=[captured.label for captured in REFUSED]
)
def test_a_refusal_frees_the_kv_unless_the_body_could_not_be_read(
    pair: PrefillDecode, captured: Answered, freed: bool
) -> None:
    leg = LEGS[captured.path]
    params = pair.keep(captured.path, leg)
    kept = kv_usage(pair.prefill)
    assert kept > 0
    reply = pair.decode_with(captured.path, captured.request or {**leg, **WRONG[captured.name]}, params)
    assert (reply.status, reply.body) == (captured.reply.status, captured.reply.body)
    if freed:
        eventually(lambda: kv_usage(pair.prefill) == 0)
    else:
        for _ in range(3):
            assert pair.decode.post(COMPLETIONS, ask("x", 3)).status == 200
            assert kv_usage(pair.prefill) == kept
        pair.free(params)


def test_the_kv_of_a_chat_is_freed_on_either_path(pair: PrefillDecode) -> None:
    pair.free(pair.keep(CHAT, LEGS[CHAT]))


def test_a_decode_rank_that_is_full_frees_what_it_refuses() -> None:
    with running_pair(*OPTIONS, decode_options=("--max-num-seqs", "1")) as pair, pair.decode.connect() as busy:
        busy.sendall(request("POST", COMPLETIONS, ask("x", 2000, ignore_eos=True)))
        eventually(lambda: pair.decode.state()["in_engine"] == 1)
        pair.free(pair.keep(COMPLETIONS, LEGS[COMPLETIONS]))


@pytest.mark.parametrize("key", KEYS)
def test_a_decode_rank_refuses_and_then_dies_of_params_without_a_key(key: str) -> None:
    with running_rank("--role", "prefill", *OPTIONS) as prefill:
        params = prefill.post(COMPLETIONS, first_leg(LEGS[COMPLETIONS])).json()["kv_transfer_params"]
        del params[key]
        dies_of = "a refused request's kv_transfer_params lack a key"
        with running_rank("--role", "decode", *OPTIONS, dies_of=dies_of) as decode:
            reply = decode.post(COMPLETIONS, {"model": "nope", "prompt": "x", "kv_transfer_params": params})
            assert (reply.status, reply.body) == (404, REFUSED[0].reply.body)


@pytest.mark.parametrize("more", [{"prompt_logprobs": 1}, {"echo": True, "logprobs": 1}])
def test_kv_that_is_computed_again_is_freed(pair: PrefillDecode, more: dict[str, Any]) -> None:
    leg = LEGS[COMPLETIONS]
    before = pair.decode.series("vllm:external_prefix_cache_hits_total")
    assert pair.decode_with(COMPLETIONS, {**leg, **more}, pair.keep(COMPLETIONS, leg)).status == 200
    eventually(lambda: kv_usage(pair.prefill) == 0)
    assert pair.decode.series("vllm:external_prefix_cache_hits_total") == before
