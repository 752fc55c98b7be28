"""Legs no gateway should ask for, and how a prefill leg may end, as vLLM 0.32.0 was seen to answer them."""

from typing import Any

import pytest

from simulator import tokens
from simulator.detokenizer import TextStream
from tests.simulator.oracle import right_ids, right_text
from tests.simulator.prefill_decode import (
    COMPLETIONS,
    ENGINE,
    OPTIONS,
    PrefillDecode,
    ask,
    first_leg,
    kv_usage,
    prompt,
    running_pair,
    text_of,
)
from tests.simulator.rank_process import RankProcess, eventually

NOBODYS = [500, 501, 502]


def late_notifications(rank: RankProcess) -> float:
    return rank.series("vllm:nixl_num_notifications_after_expiry_total")[ENGINE]


@pytest.mark.parametrize(("front", "behind", "right"), [(1, 0, True), (0, 1, False), (0, 3, False)])
def test_of_more_blocks_than_needed_the_last_are_read(
    pair: PrefillDecode, front: int, behind: int, right: bool
) -> None:
    asked = ask(prompt(205, f"more {front} {behind} "), 12, ignore_eos=True)
    params = pair.keep(COMPLETIONS, asked)
    [blocks] = params["remote_block_ids"]
    changed = {**params, "remote_block_ids": [[*NOBODYS[:front], *blocks, *NOBODYS[:behind]]]}
    text = text_of(pair.decode_with(COMPLETIONS, asked, changed))
    assert (text == right_text(asked["prompt"], 12, ignore_eos=True)) == right
    eventually(lambda: kv_usage(pair.prefill) == 0)


def test_both_choices_of_a_leg_are_right_and_one_notification_comes_late(pair: PrefillDecode) -> None:
    asked = ask(prompt(207, "two choices "), 6, ignore_eos=True)
    before = late_notifications(pair.prefill)
    reply = pair.decode_with(COMPLETIONS, {**asked, "n": 2}, pair.keep(COMPLETIONS, asked))
    ids = tokens.encode(asked["prompt"])
    for salt, choice in enumerate(reply.json()["choices"]):
        stream = TextStream()
        for token in right_ids(ids, 6, ignore_eos=True, salt=salt):
            stream.push(token)
        assert choice["text"] == stream.take(finished=True)
    eventually(lambda: late_notifications(pair.prefill) == before + 1)
    assert kv_usage(pair.prefill) == 0


def test_of_two_prompts_the_second_is_answered_wrongly_from_the_params_of_the_first(pair: PrefillDecode) -> None:
    first, second = (prompt(204, f"{name} of two ") for name in ("former", "latter"))
    before = late_notifications(pair.prefill)
    params = pair.keep(COMPLETIONS, ask(first, 6, ignore_eos=True))
    reply = pair.decode_with(COMPLETIONS, {**ask(first, 6, ignore_eos=True), "prompt": [first, second]}, params)
    texts = [choice["text"] for choice in reply.json()["choices"]]
    assert [
        text == right_text(asked, 6, ignore_eos=True) for text, asked in zip(texts, (first, second), strict=True)
    ] == [
        True,
        False,
    ]
    eventually(lambda: late_notifications(pair.prefill) == before + 1)


def test_a_decode_rank_keeps_kv_like_any_other(pair: PrefillDecode) -> None:
    asked = ask(prompt(100, "roles "), 6)
    params = pair.decode.post(COMPLETIONS, first_leg(asked)).json()["kv_transfer_params"]
    reply = pair.prefill.post(COMPLETIONS, {**asked, "kv_transfer_params": params})
    assert text_of(reply) == right_text(asked["prompt"], 6)
    eventually(lambda: kv_usage(pair.decode) == 0)


@pytest.mark.parametrize("how", ["stop", "stop_token_ids"])
@pytest.mark.parametrize("min_tokens", [0, 1])
def test_a_prefill_that_ends_in_a_stop_has_params(pair: PrefillDecode, how: str, min_tokens: int) -> None:
    asked: dict[str, Any] = ask(prompt(204, f"{how} {min_tokens} "), 6, ignore_eos=True)
    first = right_ids(tokens.encode(asked["prompt"]), 1, ignore_eos=True)
    asked |= {how: [right_text(asked["prompt"], 1, ignore_eos=True)] if how == "stop" else first}
    plain = pair.decode.post(COMPLETIONS, asked).json()["choices"][0]
    reply = pair.prefill.post(COMPLETIONS, {**first_leg(asked), "min_tokens": min_tokens}).json()
    assert reply["choices"][0]["finish_reason"] == ("length" if min_tokens else "stop")
    decoded = pair.decode_with(COMPLETIONS, asked, reply["kv_transfer_params"]).json()["choices"][0]
    assert (decoded["finish_reason"], decoded["text"]) == ("stop", plain["text"])
    eventually(lambda: kv_usage(pair.prefill) == 0)


def test_a_prefill_that_ends_by_itself_has_params() -> None:
    with running_pair(*OPTIONS, "--mean-output-tokens", "1") as pair:
        asked = ask(prompt(204), 6)
        reply = pair.prefill.post(COMPLETIONS, first_leg(asked)).json()
        assert (reply["choices"][0]["finish_reason"], reply["choices"][0]["text"]) == ("stop", "")
        decoded = pair.decode_with(COMPLETIONS, asked, reply["kv_transfer_params"]).json()
        assert (decoded["choices"][0]["finish_reason"], decoded["usage"]["completion_tokens"]) == ("stop", 1)
