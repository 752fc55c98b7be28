"""An answer through a prefill and a decode rank is that of one rank alone, and the KV is freed."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.simulator.oracle import right_chat_text, right_text
from tests.simulator.prefill_decode import (
    CHAT,
    COMPLETIONS,
    OPTIONS,
    PrefillDecode,
    ask,
    first_leg,
    kv_usage,
    prompt,
    running_pair,
    text_of,
)
from tests.simulator.rank_process import eventually


@pytest.fixture(scope="module")
def pair() -> Iterator[PrefillDecode]:
    with running_pair("--strict", *OPTIONS) as ranks:
        yield ranks


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("tokens", [1, 12, 31, 32, 33, 64, 774, 1847])
def test_a_completion_through_both_is_the_right_one(pair: PrefillDecode, tokens: int, stream: bool) -> None:
    body = ask(prompt(tokens), 40, stream=stream)
    assert text_of(pair.answer(COMPLETIONS, body)) == right_text(body["prompt"], 40)
    eventually(lambda: kv_usage(pair.prefill) == 0)


@pytest.mark.parametrize("stream", [False, True])
def test_a_chat_through_both_is_the_right_one(pair: PrefillDecode, stream: bool) -> None:
    messages = [{"role": "user", "content": prompt(200)}]
    body: dict[str, Any] = {"messages": messages, "max_completion_tokens": 30, "stream": stream}
    assert text_of(pair.answer(CHAT, body)) == right_chat_text(messages, 30)


def test_a_prefix_known_on_both_sides_is_neither_computed_nor_pulled_again(pair: PrefillDecode) -> None:
    shared = prompt(300, "the same beginning of ")
    for end in ("one", "two", "three"):
        body = ask(shared + end, 20)
        params = pair.keep(COMPLETIONS, body)
        assert params["remote_prefill_cached_tokens"] == (0 if end == "one" else 288)
        assert text_of(pair.decode_with(COMPLETIONS, body, params)) == right_text(body["prompt"], 20)


def test_the_params_have_the_captured_keys_in_the_captured_order(pair: PrefillDecode) -> None:
    reply = pair.prefill.post(COMPLETIONS, first_leg(ask(prompt(146, "abcd"), 3)), X_Request_Id="r1")
    params = reply.json()["kv_transfer_params"]
    assert list(params) == [
        "do_remote_prefill", "do_remote_decode", "remote_block_ids", "remote_engine_id", "remote_request_id",
        "remote_host", "remote_port", "tp_size", "dcp_size", "pp_size", "remote_num_tokens",
        "remote_blocks_expiry_time", "transfer_mode", "remote_prefill_cached_tokens",
    ]  # fmt: skip
    assert [len(group) for group in params["remote_block_ids"]] == [5]
    assert params["remote_request_id"].startswith("cmpl-r1-0-")
    assert (params["remote_num_tokens"], params["transfer_mode"]) == (146, "pull")
    assert text_of(pair.decode_with(COMPLETIONS, ask(prompt(146, "abcd"), 3), params))


def test_kv_is_held_until_it_is_fetched(pair: PrefillDecode) -> None:
    body = ask(prompt(500, "held "), 4)
    params = pair.keep(COMPLETIONS, body)
    eventually(lambda: kv_usage(pair.prefill) == pytest.approx(16 / 32768))
    assert text_of(pair.decode_with(COMPLETIONS, body, params)) == right_text(body["prompt"], 4)
    eventually(lambda: kv_usage(pair.prefill) == 0)


@pytest.mark.parametrize("params", [None, {}, {"do_remote_prefill": False}])
def test_a_decode_rank_serves_alone_without_params(pair: PrefillDecode, params: object) -> None:
    body = ask(prompt(100, "alone "), 10)
    assert text_of(pair.decode_with(COMPLETIONS, body, params)) == right_text(body["prompt"], 10)


def test_a_refused_request_frees_the_kv_it_names(pair: PrefillDecode) -> None:
    body = ask(prompt(300, "refused "), 4)
    for wrong, status in (({"model": "nobody"}, 404), ({"max_tokens": 5000}, 400)):
        params = pair.keep(COMPLETIONS, body)
        assert pair.decode_with(COMPLETIONS, {**body, **wrong}, params).status == status
        eventually(lambda: kv_usage(pair.prefill) == 0)
