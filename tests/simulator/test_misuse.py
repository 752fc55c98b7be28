"""A strict rank counts what is done wrong with KV and answers as a faithful one; each kind is caught."""

from collections.abc import Iterator
from typing import Any, get_args

import pytest

from simulator.misuse import Kind
from tests.simulator.prefill_decode import (
    CHAT,
    COMPLETIONS,
    OPTIONS,
    A,
    B,
    PrefillDecode,
    ask,
    first_leg,
    kv_usage,
    prompt,
    running_pair,
)
from tests.simulator.rank_process import RankProcess, check_misuse, eventually, running_rank

ALL: tuple[Kind, ...] = get_args(Kind)


@pytest.fixture(scope="module")
def ranks() -> Iterator[PrefillDecode]:
    with running_pair("--strict", "--kv-lease-ms", "600", *OPTIONS, misuse=ALL) as pair:
        yield pair


@pytest.fixture
def pair(ranks: PrefillDecode) -> PrefillDecode:
    """Nothing held, nothing counted."""
    eventually(lambda: kv_usage(ranks.prefill) == 0)
    for rank in ranks:
        rank.post("/sim/misuse", {})
    return ranks


def counts(rank: RankProcess) -> dict[str, int]:
    found = rank.get("/sim/misuse").json()["counts"]
    assert isinstance(found, dict)
    return found


def test_right_use_is_no_misuse(pair: PrefillDecode) -> None:
    for asked in (A, B, A):
        assert pair.answer(COMPLETIONS, asked).status == 200
    chat = {"messages": [{"role": "user", "content": "hello"}], "max_completion_tokens": 3}
    assert pair.answer(CHAT, chat).status == 200
    assert pair.decode_with(COMPLETIONS, {**A, "model": "nobody"}, pair.keep(COMPLETIONS, A)).status == 404
    assert pair.decode.post(COMPLETIONS, A).status == 200
    for rank in pair:
        check_misuse(rank)


def test_another_prompts_kv_is_wrong(pair: PrefillDecode) -> None:
    assert pair.decode_with(COMPLETIONS, ask(prompt(148, "other "), 12), pair.keep(COMPLETIONS, B)).status == 200
    assert counts(pair.decode) == {"wrong_kv": 1}
    assert counts(pair.prefill) == {}


def test_params_are_for_one_use(pair: PrefillDecode) -> None:
    params = pair.keep(COMPLETIONS, A)
    for _ in range(2):
        assert pair.decode_with(COMPLETIONS, A, params).status == 200
    assert counts(pair.prefill) == {"reused_params": 1}


def test_params_are_for_the_time_of_the_lease(pair: PrefillDecode) -> None:
    params = pair.keep(COMPLETIONS, A)
    eventually(lambda: kv_usage(pair.prefill) == 0)
    assert pair.decode_with(COMPLETIONS, A, params).status == 200
    assert counts(pair.prefill) == {"abandoned_kv": 1, "expired_kv": 1}


@pytest.mark.parametrize(
    ("fields", "on_prefill", "on_decode"),
    [
        ({"remote_request_id": "cmpl-nobody"}, {"unknown_request": 1}, {}),
        ({"remote_block_ids": [[5001, 5002, 5003, 5004, 5005]]}, {"foreign_blocks": 1}, {"wrong_kv": 1}),
        ({"remote_engine_id": "somebody"}, {}, {"wrong_engine": 1}),
        ({"tp_size": None}, {}, {"altered_params": 1}),
        ({"more": 1}, {}, {"altered_params": 1}),
        ({"transfer_mode": "push"}, {}, {"altered_params": 1}),
        ({"remote_host": "localhost"}, {}, {}),
        ({"remote_num_tokens": 149}, {}, {"prompt_mismatch": 1}),
    ],
)
def test_changed_params_are_noticed(
    pair: PrefillDecode, fields: dict[str, Any], on_prefill: dict[str, int], on_decode: dict[str, int]
) -> None:
    asked = ask(prompt(148, f"changed {fields} "), 2)
    pair.decode_with(COMPLETIONS, asked, {**pair.keep(COMPLETIONS, asked), **fields})
    assert counts(pair.decode) == on_decode
    assert counts(pair.prefill) == on_prefill


@pytest.mark.parametrize("more", [{"n": 2}, {"prompt": [A["prompt"], B["prompt"]]}, {"prompt_logprobs": 1}])
def test_a_leg_is_for_one_sequence(pair: PrefillDecode, more: dict[str, Any]) -> None:
    pair.decode_with(COMPLETIONS, {**A, **more}, pair.keep(COMPLETIONS, {**A, **more}))
    assert counts(pair.prefill)["not_one_prompt"] == 1
    assert counts(pair.decode)["not_one_prompt"] == 1


@pytest.mark.parametrize("more", [{"stream": True}, {"max_tokens": 2}, {"max_completion_tokens": 4}])
def test_a_prefill_leg_asks_for_one_token(pair: PrefillDecode, more: dict[str, Any]) -> None:
    assert pair.prefill.post(COMPLETIONS, {**first_leg(A), **more}).status == 200
    assert counts(pair.prefill) == {"streamed_prefill": 1}


def test_each_leg_has_its_role(pair: PrefillDecode) -> None:
    params = pair.decode.post(COMPLETIONS, first_leg(A)).json()["kv_transfer_params"]
    assert pair.prefill.post(COMPLETIONS, {**A, "kv_transfer_params": params}).status == 200
    assert [counts(rank) for rank in pair] == [{"wrong_role": 1}, {"wrong_role": 1}]


def test_a_test_that_misuses_kv_fails() -> None:
    with (
        pytest.raises(AssertionError, match="streamed_prefill"),
        running_rank("--role", "prefill", "--strict", "--kv-lease-ms", "100", *OPTIONS) as rank,
    ):
        rank.post(COMPLETIONS, {**first_leg(A), "stream": True})


def test_a_faithful_rank_counts_nothing_and_says_so() -> None:
    with running_rank("--faithful", "--role", "decode") as rank:
        assert rank.get("/sim/misuse").status == 404
