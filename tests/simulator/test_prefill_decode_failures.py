"""What becomes of wrong, used, expired and refused KV: as captured from vLLM 0.32.0 with NIXL."""

from typing import Any

import pytest

from tests.simulator.oracle import right_text
from tests.simulator.prefill_decode import (
    COMPLETIONS,
    ENGINE,
    OPTIONS,
    A,
    B,
    PrefillDecode,
    ask,
    changed,
    first_leg,
    kv_usage,
    prompt,
    running_pair,
    text_of,
)
from tests.simulator.rank_process import Reply, eventually, request, running_rank

DEAD = (
    b'{"error":{"message":"EngineCore encountered an issue. See stack trace (above) for the root cause.",'
    b'"type":"InternalServerError","param":null,"code":500}}'
)


def test_another_prompts_kv_gives_wrong_text(pair: PrefillDecode) -> None:
    params = pair.keep(COMPLETIONS, B)
    wrong = text_of(pair.decode_with(COMPLETIONS, ask(prompt(148, "C " * 7), 12), params))
    assert wrong not in (right_text(prompt(148, "C " * 7), 12), right_text(B["prompt"], 12))


def test_wrong_kv_is_found_again_by_the_prefix_of_its_prompt(pair: PrefillDecode) -> None:
    asked = ask(prompt(148, "poisoned "), 12)
    first = text_of(pair.decode_with(COMPLETIONS, asked, pair.keep(COMPLETIONS, B)))
    again = text_of(pair.decode.post(COMPLETIONS, asked))
    assert right_text(asked["prompt"], 12) not in (first, again)


def test_params_used_twice_are_right_until_the_blocks_are_reused() -> None:
    small = ("--kv-blocks", "24", "--max-model-len", "640")
    with running_pair("--speed", "20", "--block-size-tokens", "32", *small) as pair:
        params = pair.keep(COMPLETIONS, A)
        right = right_text(A["prompt"], 12)
        assert [text_of(pair.decode_with(COMPLETIONS, A, params)) for _ in range(2)] == [right, right]
        for index in range(6):
            assert pair.prefill.post(COMPLETIONS, ask(prompt(600, f"other {index} "), 1)).status == 200
        assert pair.decode.post(COMPLETIONS, ask(prompt(600, "so that D knows no prefix "), 1)).status == 200
        assert pair.decode.post(COMPLETIONS, ask(prompt(600, "nor any other "), 1)).status == 200
        assert text_of(pair.decode_with(COMPLETIONS, A, params)) != right


def test_an_unknown_request_is_served_from_the_blocks(pair: PrefillDecode) -> None:
    asked = ask(prompt(148, "unknown request "), 12)
    params = changed(pair.keep(COMPLETIONS, asked), request_id="cmpl-nobody-0-12345678")
    assert text_of(pair.decode_with(COMPLETIONS, asked, params)) == right_text(asked["prompt"], 12)


def test_kv_nobody_fetches_is_freed_when_its_lease_ends() -> None:
    with running_pair("--kv-lease-ms", "300", *OPTIONS) as pair:
        params = pair.keep(COMPLETIONS, A)
        eventually(lambda: kv_usage(pair.prefill) > 0)
        eventually(lambda: kv_usage(pair.prefill) == 0)
        assert text_of(pair.decode_with(COMPLETIONS, A, params)) == right_text(A["prompt"], 12)


def test_heartbeats_keep_the_kv_of_a_request_that_waits() -> None:
    decode_options = ("--max-num-seqs", "1")
    with running_pair("--kv-lease-ms", "400", "--speed", "2", decode_options=decode_options) as pair:
        with pair.decode.connect() as busy, pair.decode.connect() as waiting:
            busy.sendall(request("POST", COMPLETIONS, ask("x", 100_000, ignore_eos=True, stream=True)))
            assert busy.recv(65536)
            params = pair.keep(COMPLETIONS, A)
            waiting.sendall(request("POST", COMPLETIONS, {**A, "kv_transfer_params": params}))
            eventually(lambda: pair.decode.state()["in_engine"] == 2)
            waited(pair, steps=400)
            assert kv_usage(pair.prefill) > 0
        eventually(lambda: kv_usage(pair.prefill) == 0)


def waited(pair: PrefillDecode, steps: int) -> None:
    """The decode rank has gone on for so many steps of 3 ms and more."""
    name = "vllm:iteration_tokens_total_count"
    start = pair.decode.series(name)[ENGINE]
    eventually(lambda: pair.decode.series(name)[ENGINE] > start + steps)


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_leaves_before_the_pull_frees_both_sides(pair: PrefillDecode, stream: bool) -> None:
    asked = ask(prompt(3000, "leaving "), 500, stream=stream)
    before = kv_usage(pair.prefill)
    params = pair.keep(COMPLETIONS, asked)
    with pair.decode.connect() as client:
        client.sendall(request("POST", COMPLETIONS, {**asked, "kv_transfer_params": params}))
        eventually(lambda: pair.decode.state()["in_engine"] == 1)
    eventually(lambda: (kv_usage(pair.decode), kv_usage(pair.prefill)) == (0, before))


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"remote_block_ids": []}, "0 blocks are offered for 5"),
        ({"remote_block_ids": [[1]]}, "1 blocks are offered for 5"),
        ({"remote_block_ids": [[1, 2, 3, 4, "x"]]}, "0 blocks are offered for 5"),
        ({"remote_block_ids": [[999_990, 999_991, 999_992, 999_993, 999_994]]}, "no such blocks in engine "),
    ],
)
def test_the_decode_rank_dies_of_wrong_blocks(fields: dict[str, Any], why: str) -> None:
    with running_rank("--role", "prefill", *OPTIONS) as prefill:
        params = prefill.post(COMPLETIONS, first_leg(A)).json()["kv_transfer_params"]
        said = why + params["remote_engine_id"] if why.endswith(" ") else why
        with running_rank("--role", "decode", *OPTIONS, dies_of=said) as decode, decode.connect() as other:
            other.sendall(request("POST", COMPLETIONS, ask("x", 4000, ignore_eos=True)))
            eventually(lambda: decode.state()["in_engine"] == 1)
            reply = decode.post(COMPLETIONS, {**A, "kv_transfer_params": {**params, **fields}})
            assert (reply.status, reply.body) == (500, DEAD)
            assert DEAD in other.recv(65536)
            decode.process.wait()
            with pytest.raises(ConnectionRefusedError):
                decode.connect()


def test_the_decode_rank_dies_of_params_that_name_nothing() -> None:
    with running_rank("--role", "decode", *OPTIONS, dies_of="0 blocks are offered for 5") as decode:
        reply = decode.post(COMPLETIONS, {**A, "kv_transfer_params": {"do_remote_prefill": True}})
        assert (reply.status, reply.body) == (500, DEAD)


def test_a_busy_decode_rank_frees_the_kv_it_refuses() -> None:
    with running_pair(*OPTIONS, decode_options=("--max-num-queued-reqs", "1")) as pair:
        assert pair.decode_with(COMPLETIONS, {**A, "n": 2}, pair.keep(COMPLETIONS, A)).status == 503
        eventually(lambda: kv_usage(pair.prefill) == 0)


def test_a_request_whose_params_lack_a_key_waits_for_ever(pair: PrefillDecode) -> None:
    params = pair.keep(COMPLETIONS, A)
    asked = ask(prompt(148, "lacking "), 12, kv_transfer_params={**params})
    del asked["kv_transfer_params"]["remote_host"]
    with pair.decode.connect() as client:
        client.sendall(request("POST", COMPLETIONS, asked))
        eventually(lambda: kv_usage(pair.decode) > 0)
        client.settimeout(0.2)
        with pytest.raises(TimeoutError):
            client.recv(1)
    eventually(lambda: kv_usage(pair.decode) == 0)
    pair.decode_with(COMPLETIONS, {**A, "model": "nobody"}, params)


def refused(reply: Reply) -> bool:
    return reply.status == 200 and reply.json()["kv_transfer_params"] is None


@pytest.mark.parametrize("more", [{"n": 2}, {"prompt": [A["prompt"], B["prompt"]]}])
def test_several_sequences_get_one_set_of_params(pair: PrefillDecode, more: dict[str, Any]) -> None:
    reply = pair.prefill.post(COMPLETIONS, first_leg({**A, **more}))
    assert len(reply.json()["choices"]) == 2
    assert len(reply.json()["kv_transfer_params"]["remote_block_ids"][0]) == 5


def test_a_streamed_prefill_keeps_kv_and_tells_nobody() -> None:
    with running_rank("--role", "prefill", "--kv-lease-ms", "500", *OPTIONS) as prefill:
        reply = prefill.post(COMPLETIONS, {**first_leg(A), "stream": True})
        assert b"kv_transfer_params" not in reply.body
        eventually(lambda: kv_usage(prefill) > 0)
        eventually(lambda: kv_usage(prefill) == 0)


def test_four_tokens_on_the_prefill_rank_do_no_harm(pair: PrefillDecode) -> None:
    asked = ask(prompt(148, "four tokens "), 12)
    params = pair.prefill.post(COMPLETIONS, {**first_leg(asked), "max_tokens": 4}).json()["kv_transfer_params"]
    assert params["remote_num_tokens"] == 151
    assert text_of(pair.decode_with(COMPLETIONS, asked, params)) == right_text(asked["prompt"], 12)


def test_a_rank_without_a_connector_passes_over_the_params() -> None:
    with running_rank(*OPTIONS) as mixed:
        for params in ({"do_remote_prefill": True}, {"do_remote_decode": True}):
            reply = mixed.post(COMPLETIONS, {**A, "kv_transfer_params": params})
            assert refused(reply)
            assert text_of(reply) == right_text(A["prompt"], 12)


def test_log_probabilities_of_the_prompt_are_computed_here(pair: PrefillDecode) -> None:
    body = ask(prompt(40, "echo "), 4, echo=True, logprobs=1)
    reply = pair.decode_with(COMPLETIONS, body, {"do_remote_prefill": True})
    assert text_of(reply) == body["prompt"] + right_text(prompt(40, "echo "), 4)
