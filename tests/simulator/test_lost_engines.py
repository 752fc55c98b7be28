"""What becomes of KV on an engine that is unknown, out of reach or dead: as captured from vLLM 0.32.0 with NIXL."""

from collections.abc import Iterator

import pytest

from tests.simulator.oracle import right_text
from tests.simulator.prefill_decode import (
    CHAT,
    COMPLETIONS,
    OPTIONS,
    A,
    B,
    PrefillDecode,
    ask,
    changed,
    kv_usage,
    prompt,
    text_of,
)
from tests.simulator.rank_process import RankProcess, eventually, running_rank

FAILED = b'{"error":{"message":"Internal server error","type":"InternalServerError","param":null,"code":500}}'
FAILED_EVENT = (
    b'data: {"error": {"message": "Internal server error", "type": "InternalServerError", "param": null, "code": 500}}'
    b"\n\ndata: [DONE]\n\n"
)


@pytest.fixture(scope="module")
def mender() -> Iterator[RankProcess]:
    """A decode rank that computes what it cannot pull."""
    with running_rank("--role", "decode", "--kv-load-failure-policy", "recompute", *OPTIONS) as rank:
        yield rank


def test_an_unknown_engine_fails_at_once(pair: PrefillDecode) -> None:
    reply = pair.decode_with(COMPLETIONS, A, changed(pair.keep(COMPLETIONS, A), engine_id="somebody-else"))
    assert (reply.status, reply.body) == (500, FAILED)


@pytest.mark.parametrize("port", [1, 70_000, "x"])
def test_an_engine_that_cannot_be_reached_fails(port: object) -> None:
    with running_rank("--role", "decode", "--kv-handshake-ms", "200", "--speed", "20") as decode:
        params = {
            "do_remote_prefill": True, "remote_block_ids": [[1] * 64], "remote_engine_id": "fresh",
            "remote_request_id": "cmpl-x-0-1", "remote_host": "127.0.0.1", "remote_port": port,
        }  # fmt: skip
        for _ in range(2):
            reply = decode.post(COMPLETIONS, {**A, "kv_transfer_params": params})
            assert (reply.status, reply.body) == (500, FAILED)
        assert text_of(decode.post(COMPLETIONS, A)) == right_text(A["prompt"], 12)


def test_an_engine_once_met_is_not_looked_for_again(pair: PrefillDecode) -> None:
    assert pair.answer(COMPLETIONS, A).status == 200
    asked = ask(prompt(148, "port x "), 12)
    params = changed(pair.keep(COMPLETIONS, asked), port="x")
    assert text_of(pair.decode_with(COMPLETIONS, asked, params)) == right_text(asked["prompt"], 12)


def test_an_engine_that_died_fails_at_once_streamed_or_not(mender: RankProcess) -> None:
    with running_rank("--role", "decode", *OPTIONS) as decode:
        with running_rank("--role", "prefill", *OPTIONS) as prefill:
            pair = PrefillDecode(prefill, decode)
            assert pair.answer(COMPLETIONS, B).status == 200
            assert PrefillDecode(prefill, mender).answer(COMPLETIONS, B).status == 200
            params = pair.keep(COMPLETIONS, A)
            prefill.process.kill()
            prefill.process.wait()
        reply = pair.decode_with(COMPLETIONS, A, params)
        assert (reply.status, reply.body) == (500, FAILED)
        streamed = pair.decode_with(COMPLETIONS, {**A, "stream": True}, params)
        assert (streamed.status, streamed.body) == (200, FAILED_EVENT)
        messages = [{"role": "user", "content": prompt(140)}]
        chat = pair.decode_with(CHAT, {"messages": messages, "stream": True, "max_tokens": 2}, params)
        role, _, rest = chat.body.partition(b"\n\n")
        assert b'"delta":{"role":"assistant","content":""}' in role
        assert rest == FAILED_EVENT
        reply = mender.post(COMPLETIONS, {**A, "kv_transfer_params": params})
        assert text_of(reply) == right_text(A["prompt"], 12)
        for rank in (decode, mender):
            assert text_of(rank.post(COMPLETIONS, ask(prompt(90), 5))) == right_text(prompt(90), 5)
        eventually(lambda: kv_usage(decode) == kv_usage(mender) == 0)
