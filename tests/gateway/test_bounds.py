"""How much a body may hold, whatever its size in bytes."""

import json

import pytest

from gateway import bounds, prompt, wire
from gateway.bounds import ANSWER, EVENT, REQUEST, Limits
from gateway.errors import InvalidRequestError, RankFailedError
from gateway.wire import Api
from tests.gateway.fake_pools import FakePool, FakePools, card
from tests.gateway.running import CHAT, COMPLETIONS, checked_error, post, serving


def repeated(before: bytes, unit: bytes, times: int, after: bytes) -> bytes:
    return before + b",".join([unit] * times) + after


def keys(count: int) -> bytes:
    return b",".join(b'"%x":1' % number for number in range(count))


PARTS = b'{"messages":[{"role":"user","content":['
TOO_MUCH = {
    "empty parts": (CHAT, repeated(PARTS, b"{}", 200_000, b"]}]}")),
    "text parts": (CHAT, repeated(PARTS, b'{"type":"text","text":""}', 40_000, b"]}]}")),
    "parts that are strings": (CHAT, repeated(PARTS, b'""', 200_000, b"]}]}")),
    "one part of empty arrays": (CHAT, repeated(PARTS + b'{"a":[', b"[]", 200_000, b"]}]}]}")),
    "one part of numbers": (CHAT, repeated(PARTS + b'{"a":[', b"1", 1_100_000, b"]}]}]}")),
    "a deep part many times": (CHAT, repeated(PARTS + b'{"a":[', b"[" * 900 + b"]" * 900, 200, b"]}]}]}")),
    "messages": (CHAT, repeated(b'{"messages":[', b'{"role":""}', 100_000, b"]}")),
    "keys of a message": (CHAT, b'{"messages":[{"role":"user",' + keys(200_000) + b"}]}"),
    "keys of the body": (CHAT, b'{"messages":[],' + keys(200_000) + b"}"),
    "keys of the tools": (CHAT, b'{"messages":[],"tools":{' + keys(200_000) + b"}}"),
    "extra arguments": (CHAT, b'{"messages":[],"vllm_xargs":{' + keys(200_000) + b"}}"),
    "prompts": (COMPLETIONS, repeated(b'{"prompt":[', b'""', 200_000, b"]}")),
    "prompts that end in a backslash": (COMPLETIONS, repeated(b'{"prompt":[', b'"\\\\"', 200_000, b"]}")),
    "prompts of token ids": (COMPLETIONS, repeated(b'{"prompt":[', b"[1]", 200_000, b"]}")),
    "token ids": (COMPLETIONS, repeated(b'{"prompt":[', b"1", 1_100_000, b"]}")),
    "objects that never end": (COMPLETIONS, b'{"a":' * 300_000),
}


@pytest.mark.parametrize("name", TOO_MUCH)
async def test_a_body_of_too_many_things_is_refused_and_nothing_is_placed(name: str) -> None:
    path, body = TOO_MUCH[name]
    async with serving(FakePools(pool := FakePool(card("http://127.0.0.1:9")))) as served:
        status, _, answer = await served.send(post(path, body))
    assert status == 400
    assert "holds more than" in checked_error(400, answer)["message"]
    assert pool.asked == []


@pytest.mark.parametrize(
    ("unit", "limit"),
    [
        (b'""', REQUEST.strings),
        (b"{}", REQUEST.containers - 1),
        (b"[]", REQUEST.containers - 1),
        (b"1", REQUEST.values),
    ],
)
def test_up_to_the_limit_a_body_passes(unit: bytes, limit: int) -> None:
    bounds.check(repeated(b"[", unit, limit, b"]"))
    with pytest.raises(InvalidRequestError):
        bounds.check(repeated(b"[", unit, limit + 1, b"]"))


@pytest.mark.parametrize("limits", [ANSWER, EVENT])
def test_an_answer_may_hold_less_than_what_holds_the_event_loop(limits: Limits) -> None:
    for unit, limit in ((b'""', limits.strings), (b"{}", limits.containers - 1), (b"1", limits.values)):
        bounds.check_answer(repeated(b"[", unit, limit, b"]"), limits)
        with pytest.raises(RankFailedError):
            bounds.check_answer(repeated(b"[", unit, limit + 1, b"]"), limits)


@pytest.mark.parametrize("streamed", [False, True])
def test_twenty_log_probabilities_for_each_token_are_no_excess(streamed: bool) -> None:
    one = {"token": " hello", "logprob": -1.25, "bytes": list(b" hello")}
    tokens = [one | {"top_logprobs": [one] * 20}] * (500 if streamed else 6_000)
    body = json.dumps({"choices": [{"logprobs": {"content": tokens}}]}).encode()
    bounds.check_answer(body, EVENT if streamed else ANSWER)


@pytest.mark.parametrize("text", ['"', "{", "}", "[", ",", "\\", '\\"', '"\\', '{},"a":[],', "\\\\"])
def test_what_stands_in_a_text_does_not_count(text: str) -> None:
    bounds.check(json.dumps({"a": text * 1_000_000, "b": text, "c": "x"}).encode())


@pytest.mark.parametrize(
    ("raw", "depth"),
    [
        (b"1", 0),
        (b"[]", 1),
        (b'{"a":[{}],"b":[[]]}', 3),
        (b'{"[[[[":"{{{{","\\\\":"\\"[[[["}', 1),
        (b"[" * 900 + b"]" * 900, 900),
        (b"[" * 300_000, 300_000),
    ],
)
def test_depth_is_told_of_what_stands_outside_of_texts(raw: bytes, depth: int) -> None:
    assert bounds.depth_of(raw) == depth


def test_what_real_clients_send_is_not_refused() -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A/+=" * 2_500_000}}
    tool_call = {"id": "call", "type": "function", "function": {"name": "f", "arguments": json.dumps({"a": [1] * 99})}}
    turns = [
        {"role": "user", "content": [{"type": "text", "text": 'look, "here" ' * 20}]},
        {"role": "assistant", "content": None, "tool_calls": [tool_call]},
        {"role": "tool", "tool_call_id": "call", "content": json.dumps({"rows": [{"a": 1}] * 99})},
    ]
    for api, body in (
        (Api.CHAT, {"messages": [{"role": "user", "content": "word " * 44_000}]}),
        (Api.CHAT, {"messages": [{"role": "user", "content": [{"type": "text", "text": "look"}, picture]}]}),
        (Api.CHAT, {"messages": turns * 3_000}),
        (Api.COMPLETIONS, {"prompt": [id_ % 150_000 for id_ in range(131_072)]}),
        (Api.COMPLETIONS, {"prompt": "x", "logit_bias": {str(id_): -100 for id_ in range(100_000)}}),
    ):
        raw = json.dumps(body).encode()
        bounds.check(raw)
        asked = prompt.read(api, wire.read(raw).fields)
        assert asked is not None
        assert asked.count == 1
