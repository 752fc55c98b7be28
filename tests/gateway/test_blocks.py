"""Which prompts begin alike, and how far."""

from __future__ import annotations

import json
from itertools import takewhile
from random import Random
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import prompt, wire
from gateway.blocks import BLOCK_BYTES, BLOCK_IDS, HASH_BYTES, MOST_BLOCKS, Transcript, blocks_of_ids
from gateway.errors import GatewayError
from gateway.wire import Api

SPEAKERS = st.sampled_from(["system", "user", "assistant", "tool"])
TEXTS = st.text(max_size=40).map(lambda text: text * 100)
TURNS = st.lists(st.tuples(SPEAKERS, TEXTS), max_size=6)
LONG = "all of this is said again " * 400


def blocks(api: Api, **fields: Any) -> tuple[bytes, ...]:
    return blocks_of_raw(api, json.dumps(fields).encode())


def blocks_of_raw(api: Api, raw: bytes) -> tuple[bytes, ...]:
    asked = prompt.read(api, wire.read(raw, api).fields)
    assert asked is not None
    return asked.blocks


def chat(turns: list[tuple[str, Any]], **fields: Any) -> tuple[bytes, ...]:
    return blocks(Api.CHAT, messages=[{"role": role, "content": content} for role, content in turns], **fields)


def shared(one: tuple[bytes, ...], other: tuple[bytes, ...]) -> int:
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def transcript(pieces: list[tuple[bool, bytes]]) -> tuple[bytes, ...]:
    said = Transcript()
    for is_mark, piece in pieces:
        (said.mark if is_mark else said.say)(piece)
    return said.blocks()


@given(TURNS, TURNS)
def test_a_conversation_that_goes_on_begins_with_the_blocks_it_had(
    turns: list[tuple[str, str]], more: list[tuple[str, str]]
) -> None:
    before, after = chat(turns), chat(turns + more)
    assert after[: len(before)] == before


@given(TURNS, st.data())
def test_another_word_changes_all_blocks_from_there_on(turns: list[tuple[str, str]], data: st.DataObject) -> None:
    before = chat(turns)
    if not before:
        return
    at = data.draw(st.integers(0, len(turns) - 1))
    other = [*turns[:at], (turns[at][0], "!" + turns[at][1]), *turns[at + 1 :]]
    after = chat(other)
    untouched = len(chat(turns[:at]))
    assert shared(before, after) in (untouched, untouched + 1)
    assert not set(before[untouched + 1 :]) & set(after)


@given(st.lists(st.tuples(st.booleans(), st.text(max_size=30).map(str.encode)), max_size=4))
def test_pieces_do_not_run_together(pieces: list[tuple[bool, bytes]]) -> None:
    filler = [(False, b"x" * 2 * BLOCK_BYTES)]
    seen = transcript(pieces + filler)
    joined = [(False, b"".join(piece for _, piece in pieces))]
    assert (transcript(joined + filler) == seen) == (joined == pieces)


def test_the_json_around_what_is_said_does_not_matter() -> None:
    tools = [{"type": "function", "function": {"name": "f", "parameters": {"a": 1, "b": [1, 2]}}}]
    plain = chat([("user", LONG)], tools=tools)
    turned = {"function": {"parameters": {"b": [1, 2], "a": 1}, "name": "f"}, "type": "function"}
    messages = [{"content": LONG, "role": "user", "name": "someone"}]
    other = {"temperature": 0.5, "tools": [turned], "seed": 3, "messages": messages, "stream": True, "max_tokens": 7}
    assert blocks_of_raw(Api.CHAT, json.dumps(other, indent=3).encode()) == plain != ()
    escaped = json.dumps(other).replace("again", "\\u0061gain").encode()
    assert blocks_of_raw(Api.CHAT, escaped) == plain


@pytest.mark.parametrize(
    "change",
    [
        {"tools": [{"type": "function", "function": {"name": "g"}}]},
        {"cache_salt": "one's own"},
        {"messages": [{"role": "system", "content": LONG}]},
    ],
)
def test_what_engines_cache_apart_has_other_blocks(change: dict[str, Any]) -> None:
    messages = [{"role": "user", "content": LONG}]
    assert not set(blocks(Api.CHAT, messages=messages)[-1:]) & set(blocks(Api.CHAT, **{"messages": messages} | change))


def test_no_tools_are_no_tools_however_they_are_spelt() -> None:
    assert chat([("user", LONG)], tools=None) == chat([("user", LONG)])


def test_no_salt_is_no_salt_however_it_is_spelt() -> None:
    assert blocks(Api.COMPLETIONS, prompt=LONG, cache_salt=None) == blocks(Api.COMPLETIONS, prompt=LONG) != ()


def test_tool_calls_are_part_of_a_conversation() -> None:
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    asked = {"role": "assistant", "content": None, "tool_calls": [call]}
    silent = {"role": "assistant", "content": None}
    spoken = {"role": "user", "content": LONG}
    assert blocks(Api.CHAT, messages=[asked, spoken]) != blocks(Api.CHAT, messages=[silent, spoken])


def test_a_picture_is_told_from_another_and_takes_up_no_blocks() -> None:
    def look(picture: str) -> tuple[bytes, ...]:
        url = {"url": "data:image/png;base64," + picture * 100_000}
        return chat([("user", [{"type": "image_url", "image_url": url}, {"type": "text", "text": LONG}])])

    assert look("A") != look("B")
    assert len(look("A")) == len(chat([("user", LONG)]))


@pytest.mark.parametrize("api", [Api.MESSAGES, Api.RESPONSES])
def test_conversations_of_other_apis_go_on_alike(api: Api) -> None:
    field = "messages" if api is Api.MESSAGES else "input"
    first: list[dict[str, Any]] = [{"role": "user", "content": LONG}]
    answered = [*first, {"role": "assistant", "content": LONG}, {"role": "user", "content": "and?"}]
    before, after = blocks(api, **{field: first}), blocks(api, **{field: answered})
    assert after[: len(before)] == before
    assert len(after) > len(before) > 0


def test_the_order_of_a_tool_calls_arguments_does_not_matter() -> None:
    def used(arguments: dict[str, str]) -> tuple[bytes, ...]:
        call = {"type": "tool_use", "id": "1", "name": "f", "input": arguments}
        return blocks(Api.MESSAGES, messages=[{"role": "assistant", "content": [call]}])

    assert used({"a": LONG, "b": "c"}) == used({"b": "c", "a": LONG}) != ()


@given(st.lists(st.integers(0, 200_000), max_size=3 * BLOCK_IDS), st.lists(st.integers(0, 200_000), max_size=BLOCK_IDS))
def test_token_ids_are_blocks_too(ids: list[int], more: list[int]) -> None:
    before, after = blocks_of_ids(ids), blocks_of_ids(ids + more)
    assert len(before) == len(ids) // BLOCK_IDS
    assert after[: len(before)] == before


@pytest.mark.parametrize("api", [Api.COMPLETIONS, Api.GENERATE])
def test_ids_are_the_same_prompt_on_each_path(api: Api) -> None:
    ids = [Random(1).randrange(100_000) for _ in range(2 * BLOCK_IDS)]
    field = "prompt" if api is Api.COMPLETIONS else "token_ids"
    assert blocks(api, **{field: ids}) == blocks_of_ids(ids)


@pytest.mark.parametrize("number", [-1, 1 << 40])
def test_what_is_no_token_has_no_blocks(number: int) -> None:
    assert blocks_of_ids([number] * BLOCK_IDS) == ()


def test_a_short_prompt_has_no_block() -> None:
    assert chat([("user", "hello")]) == ()
    assert blocks(Api.COMPLETIONS, prompt="x" * (BLOCK_BYTES - 2)) == ()


def test_of_the_longest_prompts_the_beginning_does() -> None:
    assert len(blocks(Api.COMPLETIONS, prompt="x" * (MOST_BLOCKS + 9) * BLOCK_BYTES)) == MOST_BLOCKS


def test_a_blocks_size_is_its_share_of_the_prompt() -> None:
    text = prompt.read(Api.COMPLETIONS, {"prompt": msgspec.Raw(json.dumps("x" * 10 * BLOCK_BYTES).encode())})
    ids = prompt.read(Api.COMPLETIONS, {"prompt": msgspec.Raw(json.dumps([1] * 4 * BLOCK_IDS).encode())})
    assert text is not None
    assert ids is not None
    assert (text.block_share, ids.block_share) == (0.1, 0.25)


DEEP = "[" * 100_000
ODD: list[Any] = [
    None,
    5,
    -1.5,
    True,
    "",
    "x",
    [],
    [None],
    [5],
    [[]],
    {},
    {"type": "text"},
    {"type": "text", "text": 5},
]
ODD_BODIES = [
    *(json.dumps({name: odd}) for name in ("messages", "prompt", "input", "token_ids", "tools") for odd in ODD),
    *(json.dumps({"messages": [{"role": "user", "content": odd}]}) for odd in ODD),
    *(json.dumps({"messages": [{"role": "user", "content": LONG}], "tools": odd}) for odd in ODD),
    *(json.dumps({"messages": [{"role": "user", "content": LONG}], "cache_salt": odd}) for odd in ODD),
    f'{{"messages": {DEEP}',
    f'{{"messages": [{{"role": "user", "content": {DEEP}{DEEP.replace("[", "]")}}}]}}',
    f'{{"messages": [{{"role": "user", "content": "x"}}], "tools": {DEEP}{DEEP.replace("[", "]")}}}',
    f'{{"messages": [{{"role": "assistant", "tool_calls": {DEEP}{DEEP.replace("[", "]")}}}]}}',
    json.dumps({"messages": [{"role": "user", "content": [{"type": "text", "text": "x"}] * 60_000}]}),
    json.dumps({"messages": [{"role": "user", "content": "\ud800" + LONG}]}),
    json.dumps({"prompt": "\udfff" * 5_000}),
    json.dumps({"prompt": [1.5] * BLOCK_IDS}),
    json.dumps({"prompt": [[1 << 70] * BLOCK_IDS]}),
    json.dumps({"token_ids": [-1] * BLOCK_IDS}),
]


@pytest.mark.parametrize("api", list(Api))
def test_whatever_a_body_says_it_has_blocks_or_none(api: Api) -> None:
    for body in ODD_BODIES:
        try:
            fields = wire.read(body.encode(), api).fields
        except GatewayError:
            continue
        asked = prompt.read(api, fields)
        assert asked is None or all(len(block) == HASH_BYTES for block in asked.blocks), body[:100]


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda each: (
            st.lists(each)
            | st.dictionaries(
                st.sampled_from(["role", "content", "type", "text", "image_url", "tool_calls", "name"]), each
            )
        ),
    )
)
def test_content_of_any_kind_has_blocks_or_none(content: Any) -> None:
    for api, field in ((Api.CHAT, "messages"), (Api.MESSAGES, "messages"), (Api.RESPONSES, "input")):
        for value in (content, [content], [{"role": "user", "content": content}]):
            raw = json.dumps({field: value}).encode()
            try:
                fields = wire.read(raw, api).fields
            except GatewayError:
                continue
            asked = prompt.read(api, fields)
            assert asked is None or len(asked.blocks) <= len(raw) // BLOCK_BYTES + 1


@pytest.mark.parametrize(("one", "other"), [("AB", "BB"), ("BA", "BB")])
def test_pictures_are_told_apart_by_their_ends(one: str, other: str) -> None:
    def look(ends: str) -> tuple[bytes, ...]:
        url = {"url": f"data:image/png;base64,{ends[0]}{'x' * 100_000}{ends[1]}"}
        return chat([("user", [{"type": "image_url", "image_url": url}, {"type": "text", "text": LONG}])])

    assert not set(look(one)) & set(look(other))
