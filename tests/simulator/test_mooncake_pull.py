"""Ranks with vllm-ascend's connector that pulls, as its sources of August 2026 have it."""

from collections.abc import Iterator
from typing import Any, get_args

import pytest

from simulator.misuse import Kind
from tests.simulator.oracle import right_chat_text, right_text
from tests.simulator.prefill_decode import (
    CHAT,
    COMPLETIONS,
    OPTIONS,
    A,
    PrefillDecode,
    ask,
    first_leg,
    kv_usage,
    prompt,
    running_pair,
    text_of,
)
from tests.simulator.rank_process import check_misuse, eventually, parse, read_all, request, running_rank
from tests.simulator.test_misuse import counts

ASCEND = ("--kv-connector", "mooncake_pull", *OPTIONS)


@pytest.fixture(scope="module")
def ranks() -> Iterator[PrefillDecode]:
    """Their model ends each answer at once unless it is told not to."""
    options = ("--strict", "--kv-lease-ms", "1000", "--mean-output-tokens", "1")
    with running_pair(*options, *ASCEND, misuse=get_args(Kind)) as pair:
        yield pair


@pytest.fixture
def pair(ranks: PrefillDecode) -> PrefillDecode:
    """Nothing held, nothing counted."""
    eventually(lambda: kv_usage(ranks.prefill) == 0)
    for rank in ranks:
        rank.post("/sim/misuse", {})
    return ranks


def keep(pair: PrefillDecode, body: dict[str, Any], path: str = COMPLETIONS) -> dict[str, Any]:
    """The params of a prefill leg."""
    reply = pair.prefill.post(path, {**first_leg(body), "min_tokens": 1})
    assert reply.status == 200, reply
    params = reply.json()["kv_transfer_params"]
    assert isinstance(params, dict)
    return params


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("tokens", [1, 32, 33, 1847])
def test_a_completion_through_both_is_the_right_one(pair: PrefillDecode, tokens: int, stream: bool) -> None:
    body = ask(prompt(tokens), 40, stream=stream, ignore_eos=True)
    assert text_of(pair.decode_with(COMPLETIONS, body, keep(pair, body))) == right_text(
        body["prompt"], 40, ignore_eos=True
    )
    eventually(lambda: kv_usage(pair.prefill) == 0)
    for rank in pair:
        check_misuse(rank)


def test_a_chat_through_both_is_the_right_one_and_its_prefix_is_found_again(pair: PrefillDecode) -> None:
    messages = [{"role": "user", "content": prompt(200)}]
    body: dict[str, Any] = {"messages": messages, "max_completion_tokens": 30, "ignore_eos": True}
    for _ in range(2):
        reply = pair.decode_with(CHAT, body, keep(pair, body, CHAT))
        assert text_of(reply) == right_chat_text(messages, 30, ignore_eos=True)


def test_the_params_have_the_members_of_its_sources(pair: PrefillDecode) -> None:
    params = keep(pair, ask(prompt(146, "abcd"), 3))
    assert list(params) == [
        "do_remote_prefill", "do_remote_decode", "remote_block_ids", "remote_engine_id", "remote_request_id",
        "remote_host", "remote_port", "remote_pcp_size", "remote_dcp_size", "remote_ptp_size", "last_token_id",
        "remote_multi_nodes_meta_mapping", "num_prompt_blocks", "remote_block_size",
    ]  # fmt: skip
    assert [len(group) for group in params["remote_block_ids"]] == [params["num_prompt_blocks"]] == [5]
    assert params["remote_block_size"] == 32
    pair.free(params)


def test_kv_is_offered_only_where_the_limit_ended_the_prefill(pair: PrefillDecode) -> None:
    reply = pair.prefill.post(COMPLETIONS, first_leg(A)).json()
    assert (reply["choices"][0]["finish_reason"], reply["kv_transfer_params"]) == ("stop", None)
    assert kv_usage(pair.prefill) == 0
    assert counts(pair.prefill) == {"no_min_tokens": 1}


def test_too_few_blocks_end_no_engine_and_give_a_wrong_answer(pair: PrefillDecode) -> None:
    body = ask(prompt(148, "few "), 12, ignore_eos=True)
    params = keep(pair, body)
    params["remote_block_ids"][0].pop()
    assert text_of(pair.decode_with(COMPLETIONS, body, params)) != right_text(body["prompt"], 12, ignore_eos=True)
    assert counts(pair.decode) == {"wrong_kv": 1}


def test_a_listed_workers_host_and_engine_are_believed_before_the_ranks_own(pair: PrefillDecode) -> None:
    body = ask(prompt(148, "worker "), 12, ignore_eos=True)
    params = keep(pair, body) | {"remote_host": "192.0.2.1", "remote_engine_id": "nobody"}
    assert text_of(pair.decode_with(COMPLETIONS, body, params)) == right_text(body["prompt"], 12, ignore_eos=True)


def test_nothing_renews_what_is_held(pair: PrefillDecode) -> None:
    body = ask(prompt(148, "late "), 2, ignore_eos=True)
    params = keep(pair, body)
    pair.decode.post("/sim/fault", {"kind": "freeze"})
    with pair.decode.connect() as client:
        headers = {"Connection": "close"}
        client.sendall(request("POST", COMPLETIONS, {**body, "kv_transfer_params": params}, **headers))
        eventually(lambda: kv_usage(pair.prefill) == 0)
        pair.decode.post("/sim/fault", {"kind": "clear"})
        assert parse(read_all(client)).status == 200
    assert counts(pair.prefill)["expired_kv"] == 1


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({"remote_ptp_size": 2}, "altered_params"),
        ({"more": 1}, "altered_params"),
        ({"remote_multi_nodes_meta_mapping": []}, "altered_params"),
        ({"num_prompt_blocks": 4}, "prompt_mismatch"),
    ],
)
def test_changed_params_are_noticed(pair: PrefillDecode, fields: dict[str, Any], kind: Kind) -> None:
    body = ask(prompt(148, f"changed {fields} "), 2, ignore_eos=True)
    pair.decode_with(COMPLETIONS, body, keep(pair, body) | fields)
    assert counts(pair.decode) == {kind: 1}


def test_an_api_without_a_least_number_of_tokens_is_not_asked_for_one(pair: PrefillDecode) -> None:
    asked = {"model": "sim", "messages": [{"role": "user", "content": "x"}], "max_tokens": 1}
    params = {"do_remote_decode": True, "do_remote_prefill": False}
    assert pair.prefill.post("/v1/messages", {**asked, "kv_transfer_params": params}).status == 200
    assert counts(pair.prefill) == {}


def test_no_blocks_at_all_end_the_engine(pair: PrefillDecode) -> None:
    params = keep(pair, A)
    pair.free(params)
    with running_rank("--role", "decode", *ASCEND, dies_of="0 blocks are offered for 5") as decode:
        decode.post(COMPLETIONS, {**A, "kv_transfer_params": params | {"remote_block_ids": []}})


def test_its_page_has_no_series_of_nixl(pair: PrefillDecode) -> None:
    assert b"vllm:nixl" not in pair.decode.get("/metrics").body
    assert b"vllm:num_requests_kv_fetch_by_stage" in pair.decode.get("/metrics").body
