"""What beside the words decides whether two prompts begin alike, and how much of a prompt is left."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway import prompt, wire
from gateway.blocks import BLOCK_IDS
from gateway.prompt import Prompt
from gateway.wire import Api

LONG = "all of this is said again " * 400
IDS = list(range(4 * BLOCK_IDS))
PROMPTS: dict[Api, dict[str, Any]] = {
    Api.CHAT: {"messages": [{"role": "user", "content": LONG}]},
    Api.MESSAGES: {"messages": [{"role": "user", "content": LONG}]},
    Api.RESPONSES: {"input": LONG},
    Api.COMPLETIONS: {"prompt": LONG},
}
WITH_IDS: dict[Api, dict[str, Any]] = {Api.COMPLETIONS: {"prompt": IDS}, Api.GENERATE: {"token_ids": IDS}}


def asked(api: Api, said: dict[str, Any], **fields: Any) -> Prompt:
    found = prompt.read(api, wire.read(json.dumps(said | fields, indent=1).encode(), api).fields)
    assert found is not None
    return found


def blocks(api: Api, **fields: Any) -> tuple[bytes, ...]:
    return asked(api, PROMPTS[api], **fields).blocks


@pytest.mark.parametrize("api", PROMPTS)
def test_a_salt_sets_prompts_apart(api: Api) -> None:
    plain, salted, other = blocks(api), blocks(api, cache_salt="a"), blocks(api, cache_salt="b")
    assert len(plain) == len(salted) == len(other) > 1
    assert len({*plain, *salted, *other}) == 3 * len(plain)
    assert blocks(api, cache_salt=None) == plain


@pytest.mark.parametrize("api", WITH_IDS)
def test_a_salt_sets_token_ids_apart(api: Api) -> None:
    plain, salted = (asked(api, WITH_IDS[api], **fields).blocks for fields in ({}, {"cache_salt": "a"}))
    assert len(plain) == len(salted) == 4
    assert not set(plain) & set(salted)


@pytest.mark.parametrize(
    ("api", "field", "value"),
    [
        (Api.CHAT, "chat_template", "{{ messages }}"),
        (Api.CHAT, "chat_template_kwargs", {"enable_thinking": False}),
        (Api.RESPONSES, "chat_template_kwargs", {"enable_thinking": False}),
        (Api.MESSAGES, "chat_template_kwargs", {"enable_thinking": False}),
        (Api.CHAT, "reasoning_effort", "high"),
        (Api.RESPONSES, "reasoning", {"effort": "high"}),
        (Api.CHAT, "mm_processor_kwargs", {"num_crops": 4}),
        (Api.CHAT, "media_io_kwargs", {"video": {"num_frames": 4}}),
        (Api.CHAT, "add_special_tokens", True),
        (Api.COMPLETIONS, "add_special_tokens", False),
    ],
)
def test_what_renders_a_prompt_otherwise_sets_it_apart(api: Api, field: str, value: Any) -> None:
    assert not set(blocks(api, **{field: value})) & set(blocks(api))
    assert blocks(api, **{field: value}) == blocks(api, **{field: value})


@pytest.mark.parametrize(
    "fields",
    [
        {"chat_template_kwargs": None, "documents": None, "truncate_prompt_tokens": None},
        {"add_special_tokens": False},
        {"add_generation_prompt": False, "continue_final_message": True},
        {"truncate_prompt_tokens": -1},
        {"truncate_prompt_tokens": len(LONG)},
        {"truncate_prompt_tokens": 10, "truncation_side": "right"},
        {"truncate_prompt_tokens": "many"},
        {"truncate_prompt_tokens": 10, "truncation_side": 5},
    ],
)
def test_what_leaves_the_beginning_as_it_is_does_not(fields: dict[str, Any]) -> None:
    assert blocks(Api.CHAT, **fields) == blocks(Api.CHAT)


def test_how_an_argument_is_spelt_does_not_matter() -> None:
    one, other = {"a": 1, "b": "x"}, {"b": "x", "a": 1}
    assert blocks(Api.CHAT, chat_template_kwargs=one) == blocks(Api.CHAT, chat_template_kwargs=other)


def test_documents_are_said_at_the_beginning_and_count() -> None:
    documents = [{"title": "one", "text": LONG}, {"title": "two", "text": LONG}]
    other = [documents[0], {"title": "three", "text": LONG}]
    found, plain = asked(Api.CHAT, PROMPTS[Api.CHAT], documents=documents), asked(Api.CHAT, PROMPTS[Api.CHAT])
    assert found.text_bytes > plain.text_bytes + 2 * len(LONG)
    assert len(found.blocks) > len(plain.blocks)
    shared = set(found.blocks) & set(blocks(Api.CHAT, documents=other))
    assert 0 < len(shared) < len(found.blocks)
    assert not set(found.blocks) & set(plain.blocks)


@pytest.mark.parametrize("api", [Api.CHAT, Api.COMPLETIONS])
def test_of_a_text_whose_beginning_is_cut_off_nothing_is_known(api: Api) -> None:
    assert blocks(api, truncate_prompt_tokens=100) == ()


def test_of_token_ids_the_end_is_left() -> None:
    left = 2 * BLOCK_IDS + 5
    found = asked(Api.COMPLETIONS, {"prompt": IDS}, truncate_prompt_tokens=left)
    assert found == asked(Api.COMPLETIONS, {"prompt": IDS[-left:]})
    assert asked(Api.COMPLETIONS, {"prompt": IDS}, truncate_prompt_tokens=10_000).token_ids == len(IDS)
    assert asked(Api.COMPLETIONS, {"prompt": [IDS, IDS]}, truncate_prompt_tokens=7).token_ids == 14


def test_arguments_that_cannot_be_read_are_taken_as_they_are() -> None:
    raw = json.dumps(PROMPTS[Api.CHAT])[:-1] + ', "chat_template_kwargs": {"a": 1e999}}'
    found = prompt.read(Api.CHAT, wire.read(raw.encode(), Api.CHAT).fields)
    assert found is not None
    assert len(found.blocks) == len(blocks(Api.CHAT))
    assert not set(found.blocks) & set(blocks(Api.CHAT))
