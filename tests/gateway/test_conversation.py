"""What counts as the prompt of /v1/messages, /v1/responses and /inference/v1/generate."""

import json
from typing import Any

import pytest

from gateway import prompt, wire
from gateway.prompt import Prompt
from gateway.wire import Api


def read(api: Api, **fields: Any) -> Prompt:
    asked = prompt.read(api, wire.read(json.dumps(fields).encode(), api).fields)
    assert asked is not None
    return asked


def messages(*turns: dict[str, Any], **fields: Any) -> Prompt:
    return read(Api.MESSAGES, messages=turns, **fields)


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


def test_a_message_counts_its_texts_and_nothing_around_them() -> None:
    assert messages(user("h\u00e9llo")).text_bytes == 6
    block = {"type": "text", "text": "hello", "cache_control": {"type": "ephemeral"}}
    assert messages(user([block])).text_bytes == 5
    assert messages(user("a"), system=[block]).text_bytes == 6
    thought = {"type": "thinking", "thinking": "hm", "signature": "c" * 99}
    call = {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"city": "Oslo"}}
    result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": [{"type": "text", "text": "rain"}]}
    assert messages({"role": "assistant", "content": [thought, call]}, user([result])).text_bytes == 2 + 1 + 4 + 4
    assert messages(user("a"), tools=[{"name": "f"}]).text_bytes == 1 + len('[{"name": "f"}]')


def test_a_response_counts_its_texts_and_nothing_around_them() -> None:
    assert read(Api.RESPONSES, input="hello").text_bytes == 5
    call = {"type": "function_call", "id": "fc_1", "call_id": "c", "name": "f", "arguments": "{}", "status": "x"}
    output = {"type": "function_call_output", "call_id": "c", "output": "rain"}
    part = {"type": "input_text", "text": "hello"}
    asked = read(Api.RESPONSES, instructions="Be", input=[user([part]), call, output])
    assert asked.text_bytes == 2 + 5 + 1 + 2 + 4
    assert asked.count == 1


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image", "source": {"type": "base64", "data": "AAAA"}},
        {"type": "input_image", "image_url": "data:image/png;base64,AAAA"},
        {"type": "input_file", "file_data": "AAAA", "filename": ""},
    ],
)
def test_media_are_no_text_and_tell_conversations_apart(part: dict[str, Any]) -> None:
    for api, name in ((Api.MESSAGES, "messages"), (Api.RESPONSES, "input")):
        with_it = read(api, **{name: [user([part])]})
        assert with_it.text_bytes == 0
        other = json.loads(json.dumps(part).replace("AAAA", "BBBB"))
        assert with_it.key != read(api, **{name: [user([other])]}).key


def test_conversations_that_begin_alike_have_one_key_whatever_the_json_around_them() -> None:
    long = "x" * 2_000
    first, other = messages(user(long), user("a")), messages(user("y" + long), user("a"))
    assert first.key != other.key
    assert messages(user(long + "x" * 48), user("a"), max_tokens=1, stream=True).key == messages(user(long * 2)).key
    assert messages(user([{"type": "text", "text": "hi"}])).key == messages(user("hi")).key
    assert messages(user("hi")).key != messages({"role": "assistant", "content": "hi"}).key
    assert messages(user("hi"), system="a").key != messages(user("hi"), system="b").key


def test_ids_are_counted_and_make_the_key() -> None:
    asked = read(Api.GENERATE, token_ids=[1, 2, 3], sampling_params={})
    assert (asked.text_bytes, asked.token_ids, asked.count) == (0, 3, 1)
    assert asked.key == read(Api.COMPLETIONS, prompt=[1, 2, 3]).key


@pytest.mark.parametrize(
    ("api", "fields"),
    [
        (Api.RESPONSES, {"input": 5}), (Api.RESPONSES, {"input": ["x"]}), (Api.RESPONSES, {"instructions": "x"}),
        (Api.MESSAGES, {"messages": [{"role": "user", "content": 5}]}), (Api.MESSAGES, {"system": "x"}),
        (Api.GENERATE, {"token_ids": "x"}), (Api.GENERATE, {"token_ids": [1.5]}), (Api.GENERATE, {}),
    ],
)  # fmt: skip
def test_what_is_no_conversation_is_not_read(api: Api, fields: dict[str, Any]) -> None:
    assert prompt.read(api, wire.read(json.dumps(fields).encode(), api).fields) is None


@pytest.mark.parametrize(
    ("api", "fields", "max_tokens", "n"),
    [
        (Api.RESPONSES, {"max_output_tokens": 5, "max_tokens": 9, "n": 1}, 5, 1),
        (Api.MESSAGES, {"max_tokens": 5, "max_completion_tokens": 9}, 5, 1),
        (Api.GENERATE, {"sampling_params": {"max_tokens": 5, "n": 3}, "max_tokens": 9, "n": 7}, 5, 3),
        (Api.GENERATE, {"sampling_params": None}, None, 1),
        (Api.COMPLETIONS, {"max_tokens": 5, "max_completion_tokens": 9}, 5, 1),
    ],
)
def test_each_api_has_its_own_limit(api: Api, fields: dict[str, Any], max_tokens: int | None, n: int) -> None:
    body = wire.read(json.dumps(fields).encode(), api)
    assert (body.max_tokens, body.n) == (max_tokens, n)
