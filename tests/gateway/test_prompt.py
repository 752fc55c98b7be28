"""How large a prompt is found to be, and which prompts begin alike."""

import json
from typing import Any

import pytest

from gateway import prompt, wire
from gateway.errors import InvalidRequestError, UnparsableBodyError
from gateway.prompt import LEADING_BYTES, LEADING_IDS, Prompt
from gateway.wire import Api


def found(api: Api, raw: bytes) -> Prompt:
    asked = prompt.read(api, wire.read(raw).fields)
    assert asked is not None
    return asked


def chat(*messages: Any, **fields: Any) -> Prompt:
    return found(Api.CHAT, json.dumps({"messages": messages, **fields}).encode())


def text(value: Any) -> Prompt:
    return found(Api.COMPLETIONS, json.dumps({"prompt": value}).encode())


def said(content: Any, role: str = "user") -> dict[str, Any]:
    return {"role": role, "content": content}


def test_text_is_counted_in_bytes_of_utf8() -> None:
    assert text("h\u00e9llo").text_bytes == 6
    assert chat(said("ab"), said("\u4f60", "assistant")).text_bytes == 5


def test_a_list_of_prompts_counts_whole() -> None:
    assert text(["abc", "de"]) == Prompt(5, 0, 2, text("abc").key)


def test_token_ids_are_counted_as_ids() -> None:
    assert (text([1, 2, 3]).text_bytes, text([1, 2, 3]).token_ids, text([1, 2, 3]).count) == (0, 3, 1)
    assert (text([[1], [2, 3]]).token_ids, text([[1], [2, 3]]).count) == (3, 2)


def test_pictures_in_data_urls_do_not_count() -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 100_000}}
    assert chat(said([{"type": "text", "text": "look"}, picture])).text_bytes == 4


def test_tools_and_tool_calls_count() -> None:
    calls = [{"id": "1", "function": {"name": "f", "arguments": "{}"}}]
    with_call = chat({"role": "assistant", "content": None, "tool_calls": calls})
    assert with_call.text_bytes == len(json.dumps(calls))
    assert chat(said("a"), tools=[{"type": "function"}]).text_bytes > chat(said("a")).text_bytes


def test_nothing_but_what_is_said_matters_for_the_key() -> None:
    one = b'{"model":"m","messages":[{"role":"user","content":"hello"}],"temperature":0,"seed":1}'
    other = b'{"messages" : [ { "content":"h\\u0065llo", "role":"user", "name":"x" } ]}'
    keys = {found(Api.CHAT, raw).key for raw in (one, other)}
    assert keys == {chat(said("hello")).key} == {chat(said([{"type": "text", "text": "hello"}])).key}


def test_prompts_that_begin_alike_have_one_key() -> None:
    beginning = "x" * LEADING_BYTES
    assert chat(said(beginning), said("a")).key == chat(said(beginning), said("b")).key
    assert text(beginning + "a").key == text(beginning + "b").key
    ids = list(range(LEADING_IDS))
    assert text([*ids, 1]).key == text([*ids, 2]).key


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ((said("a"),), (said("b"),)),
        ((said("a", "user"),), (said("a", "system"),)),
        ((said("ab"), said("c")), (said("a"), said("bc"))),
        ((said("ab"),), (said("a"), said("b"))),
        ((said([{"type": "image_url", "image_url": {"url": "a"}}]),), (said([{"type": "image_url"}]),)),
    ],
)
def test_prompts_that_begin_differently_have_different_keys(one: tuple[Any, ...], other: tuple[Any, ...]) -> None:
    assert chat(*one).key != chat(*other).key


def test_the_key_of_a_large_picture_is_of_its_ends_and_its_length() -> None:
    def looking_at(data: str) -> str:
        return chat(said([{"type": "image_url", "image_url": {"url": f"data:{data}"}}])).key

    assert looking_at("a" * 10_000) == looking_at("a" * 10_000)
    assert len({looking_at("a" * 10_000), looking_at("a" * 10_001), looking_at("b" + "a" * 9_999)}) == 3


@pytest.mark.parametrize("empty", ["", [], [[]], [""]])
def test_an_empty_prompt_is_for_the_rank_to_judge(empty: Any) -> None:
    assert (text(empty).text_bytes, text(empty).token_ids) == (0, 0)
    assert text(empty).count == 1


@pytest.mark.parametrize("depth", range(940, 1000, 3))
def test_messages_of_any_depth_are_read_or_not(depth: int) -> None:
    raw = b'{"messages":[{"role":"user","content":[{"type":"x","y":' + b"[" * depth + b"]" * depth + b"}]}]}"
    try:
        fields = wire.read(raw).fields
    except (InvalidRequestError, UnparsableBodyError):
        return
    asked = prompt.read(Api.CHAT, fields)
    assert asked is None or asked.text_bytes == 0


@pytest.mark.parametrize("api", Api)
@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({}, id="nothing"),
        pytest.param({"prompt": None, "messages": None}, id="null"),
        pytest.param({"prompt": 5, "messages": 5}, id="a number"),
        pytest.param({"prompt": {}, "messages": "hi"}, id="another type"),
        pytest.param({"prompt": ["a", 1], "messages": ["hi"]}, id="a list of others"),
        pytest.param({"prompt": [[1], 1], "messages": [{"content": "x"}]}, id="a list with a fault"),
        pytest.param({"prompt": [1.5], "messages": [{"role": "user", "content": [5]}]}, id="a fault inside"),
    ],
)
def test_what_is_no_prompt_is_not_read(api: Api, fields: dict[str, Any]) -> None:
    assert prompt.read(api, wire.read(json.dumps(fields).encode()).fields) is None


def test_embeddings_are_a_prompt_without_text() -> None:
    assert found(Api.COMPLETIONS, b'{"prompt_embeds":"AAAA"}').text_bytes == 0
