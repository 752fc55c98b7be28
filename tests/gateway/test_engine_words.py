"""What a gateway and a rank refuse alike, they refuse in the same bytes: those of vLLM 0.32.0 (tests/data/vllm)."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway import errors, wire
from gateway.engine_words import MAX_BYTES
from gateway.errors import GatewayError
from gateway.shape import NO_LOAD
from tests.gateway.fake_pools import FakePool, FakePools, card, pools_of_nobody
from tests.gateway.running import CHAT, COMPLETIONS, checked_error, eventually, post, serving
from tests.gateway.scripted_rank import EVENTS, scripted_rank, streams
from tests.simulator import captures
from tests.simulator.rank_process import RankProcess, running_rank

UNDECODABLE = {
    one["name"]: (one["body"].encode("latin-1"), one["answer"].encode())
    for one in json.loads((Path(captures.FOLDER).parent / "undecodable.json").read_bytes())
}
CAPTURED = [
    name
    for name in captures.names("err_")
    # The vocabulary is the model's, and a gateway has no such route.
    if name not in ("err_token_out_of_vocab", "err_embeddings_route")
]
HI = b'"messages":[{"role":"user","content":"hi"}]'

UNREADABLE_COMPLETIONS = (
    b'{"model":"tiny"}',
    b'{"prompt":null}',
    b'{"prompt":5}',
    b'{"prompt":{}}',
    b'{"prompt":["a",1]}',
    b'{"prompt":[1.5]}',
    b'{"prompt":{"' + b"x" * 100_000 + b'":1}}',
    b'{"prompt":"x","stream":"perhaps"}',
    b'{"prompt":"x","max_tokens":"many"}',
    b'{"prompt":"x","max_tokens":1.5}',
    b'{"prompt":"x","n":{}}',
    b'{"prompt":"x","stream":true,"stream_options":[]}',
    b'{"prompt":"x","stream":true,"stream_options":"x","max_tokens":[1]}',
)
UNREADABLE_CHATS = (
    b'{"model":"tiny"}',
    b'{"messages":null}',
    b'{"messages":"hi"}',
    b'{"messages":["hi"]}',
    b'{"messages":[{"content":"x"}]}',
    b'{"messages":[{"role":"user","content":"a"},{"content":"x"}]}',
    b'{"messages":[{"role":5,"content":"x"}]}',
    b'{"messages":[{"role":"user","content":5}]}',
    b'{"messages":[{"role":"user","content":[5]}]}',
    b"{" + HI + b',"max_completion_tokens":[1]}',
    b"{" + HI + b',"max_completion_tokens":5,"max_tokens":"many"}',
)
UNREADABLE = [(COMPLETIONS, body) for body in UNREADABLE_COMPLETIONS] + [(CHAT, body) for body in UNREADABLE_CHATS]

ONLY_FOR_PYTHON = {
    "not a number": b'{"prompt":"x","temperature":NaN}',
    "infinity inside": b'{"prompt":"x","a":[Infinity]}',
    "half a surrogate pair": b'{"prompt":"\\ud800"}',
    "a surrogate in UTF-8": b'{"prompt":"\xed\xa0\x80"}',
    "UTF-16": '{"prompt":"x"}'.encode("utf-16"),
    "a byte order mark": b'\xef\xbb\xbf{"prompt":"x"}',
}


@pytest.fixture(scope="module")
def rank() -> Iterator[RankProcess]:
    """A rank set up like the server the captures come from."""
    options = ("--model", "tiny", "--max-model-len", "2048", "--block-size-tokens", "32", "--kv-blocks", "2048")
    with running_rank(*options, "--max-num-seqs", "8", "--max-num-batched-tokens", "2048", "--speed", "50") as process:
        yield process


def pool_of(rank: RankProcess) -> FakePool:
    return FakePool(card(rank.url), name="tiny")


def asked_of(rank: RankProcess, path: str, body: bytes) -> tuple[int, bytes]:
    reply = rank.post(path, body)
    return reply.status, reply.body


@pytest.mark.parametrize("name", UNDECODABLE)
def test_a_body_that_is_no_object_is_refused_in_vllms_words(rank: RankProcess, name: str) -> None:
    body, answer = UNDECODABLE[name]
    with pytest.raises(GatewayError) as raised:
        wire.read(body)
    assert errors.body_of(raised.value) == answer
    assert errors.status_of(raised.value) == 400
    assert [asked_of(rank, path, body) for path in (COMPLETIONS, CHAT)] == [(400, answer)] * 2


async def test_a_body_that_is_no_object_is_refused_without_asking_a_rank() -> None:
    fakes = pools_of_nobody()
    async with serving(fakes) as served:
        for path in (COMPLETIONS, CHAT):
            for name, (body, expected) in UNDECODABLE.items():
                status, headers, answer = await served.send(post(path, body))
                assert (status, answer) == (400, expected), name
                assert headers["content-type"] == "application/json"
    assert fakes.placed == 0


@pytest.mark.parametrize("beginning", [b'{"prompt":"x","a":', b""])
@pytest.mark.parametrize("closing", [b"]", b""])
async def test_what_is_nested_without_end_is_refused_in_vllms_words(
    rank: RankProcess, beginning: bytes, closing: bytes
) -> None:
    body = beginning + b"[" * 100_000 + closing * 100_000 + (b"}" if beginning and closing else b"")
    async with serving(pools_of_nobody()) as served:
        status, _, answer = await served.send(post(COMPLETIONS, body))
    assert (status, answer) == (400, b'{"detail":"There was an error parsing the body"}')
    assert asked_of(rank, COMPLETIONS, body) == (status, answer)


async def test_a_captured_error_comes_through_a_gateway_byte_for_byte(rank: RankProcess) -> None:
    async with serving(FakePools(pool := pool_of(rank))) as served:
        for name in CAPTURED:
            captured = captures.load(name)
            status, headers, answer = await served.send(captured.request)
            assert (status, answer) == (captured.reply.status, captured.reply.body), name
            assert headers["content-type"] == dict(captured.reply.headers)["content-type"]
        await eventually(lambda: not pool.live)


async def test_what_a_gateway_cannot_read_a_rank_refuses_in_its_own_words(rank: RankProcess) -> None:
    async with serving(FakePools(pool := pool_of(rank))) as served:
        for path, body in UNREADABLE:
            status, _, answer = await served.send(post(path, body))
            assert (status, answer) == asked_of(rank, path, body), body
            assert status == 400, body
        await eventually(lambda: not pool.live)
    assert pool.asked == [NO_LOAD] * len(UNREADABLE)
    assert pool.releases() == dict.fromkeys(range(1, len(UNREADABLE) + 1), 1)


# As docs/real_vllm.md shows them.
TOLD_BY_VLLM = {
    (COMPLETIONS, b'{"prompt":null}'): (
        "Either prompt or prompt_embeds must be provided and non-empty. (parameter=prompt)"
    ),
    (COMPLETIONS, b'{"prompt":"x","stream":"perhaps"}'): (
        "1 validation error:\n  {'type': 'bool_parsing', 'loc': 'body.stream', "
        "'msg': 'Input should be a valid boolean, unable to interpret input', 'input': 'perhaps'}"
    ),
    (COMPLETIONS, b'{"prompt":"x","max_tokens":"many"}'): (
        "1 validation error:\n  {'type': 'int_parsing', 'loc': 'body.max_tokens', "
        "'msg': 'Input should be a valid integer, unable to parse string as an integer', 'input': 'many'}"
    ),
    (CHAT, b'{"messages":null}'): "'NoneType' object is not iterable",
}


@pytest.mark.parametrize(("path", "body"), TOLD_BY_VLLM)
def test_a_simulated_rank_refuses_what_a_gateway_cannot_read_in_vllms_words(
    rank: RankProcess, path: str, body: bytes
) -> None:
    status, answer = asked_of(rank, path, body)
    assert (status, checked_error(400, answer)["message"]) == (400, TOLD_BY_VLLM[path, body])


@pytest.mark.parametrize(
    ("model", "shown"),
    [
        (b"5", "5"),
        (b"1.50", "1.5"),
        (b"true", "True"),
        (b"{}", "<dict of 0 items>"),
        (b"[" + b"1," * 9 + b"1]", "<list of 10 items>"),
        (b"1" * 201, "1" * 200 + "...[truncated]"),
    ],
)
async def test_a_model_of_another_type_is_refused_in_vllms_words(rank: RankProcess, model: bytes, shown: str) -> None:
    body = b'{"model":' + model + b',"prompt":"x"}'
    async with serving(fakes := pools_of_nobody("one", "two")) as served:
        status, _, answer = await served.send(post(COMPLETIONS, body))
    assert checked_error(status, answer)["message"].endswith(
        f"'msg': 'Input should be a valid string', 'input': '{shown}'}}"
    )
    assert fakes.placed == 0


async def test_a_model_that_is_an_endless_number_is_refused_in_vllms_words() -> None:
    async with serving(pools_of_nobody()) as served:
        _, _, answer = await served.send(post(COMPLETIONS, b'{"prompt":"x","model":' + b"1" * 5000 + b"}"))
    assert answer == b'{"detail":"There was an error parsing the body"}'


@pytest.mark.parametrize("name", ONLY_FOR_PYTHON)
async def test_what_only_python_takes_for_json_reaches_no_rank(name: str) -> None:
    fakes = pools_of_nobody()
    async with serving(fakes) as served:
        status, _, answer = await served.send(post(COMPLETIONS, ONLY_FOR_PYTHON[name]))
    assert "no JSON object that is passed on" in checked_error(status, answer)["message"]
    assert fakes.placed == 0


@pytest.mark.parametrize("body", [b'{"prompt":"%b', b'"%b"', b'{"prompt":"x","model":["%b"]}'])
async def test_a_body_too_large_to_look_into_is_refused_in_our_own_words(body: bytes) -> None:
    fakes = pools_of_nobody()
    async with serving(fakes) as served:
        status, _, answer = await served.send(post(COMPLETIONS, body % (b"x" * MAX_BYTES)))
    assert status == 400
    assert "1 validation error" not in checked_error(400, answer)["message"]
    assert len(answer) < 500
    assert fakes.placed == 0


async def test_what_a_rank_accepts_after_all_is_served() -> None:
    async with scripted_rank(streams) as rank, serving(FakePools(pool := FakePool(card(rank.url)))) as served:
        response = await served.complete(stream="perhaps", stream_options={"include_usage": "perhaps"})
        await eventually(lambda: not pool.live)
    assert (response.status_code, response.content) == (200, b"".join(EVENTS))
    assert pool.asked == [NO_LOAD]
    assert pool.words() == ["dispatched", "first_token", "released"]


async def test_nothing_unreadable_carries_what_is_forbidden() -> None:
    params = b'{"do_remote_prefill":true,"remote_host":"h"}'
    forged = b'"kv_transfer_params":%b,"kv_\\u0074ransfer_params":%b,"ec_transfer_params":%b' % (params, params, params)
    async with scripted_rank() as rank, serving(FakePools(FakePool(card(rank.url)))) as served:
        for path, fields in (
            (COMPLETIONS, b'"prompt":5'),
            (COMPLETIONS, b'"prompt":"x","stream":"perhaps"'),
            (CHAT, b'"messages":{}'),
            (CHAT, HI + b',"stream_options":"x"'),
        ):
            arguments = b'{"a":1,"kv_transfer_params":%b}' % params
            body = b'{%b,%b,"vllm_xargs":{"b":2},"vllm_xargs":%b}' % (forged, fields, arguments)
            await served.send(post(path, body))
            assert rank.requests[-1].body == b"{%b," % fields + b'"vllm_xargs":{"a":1}}'
    assert len(rank.requests) == 4
