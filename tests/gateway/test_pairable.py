"""Which requests may be served in two legs."""

import json
from typing import Any

import pytest

from gateway import prompt, wire
from gateway.leg_bodies import LIMITS, NOT_FOR_PREFILL
from gateway.pairable import PLAIN, is_pairable
from gateway.wire import Api


def pairable(api: Api, **fields: Any) -> bool:
    asked = {"messages": [{"role": "user", "content": "x"}]} if api is Api.CHAT else {"prompt": "x"}
    body = wire.read(json.dumps(asked | fields).encode())
    read = prompt.read(api, body.fields)
    assert read is not None
    return is_pairable(api, body, read)


@pytest.mark.parametrize(
    ("fields", "chat", "completions"),
    [
        ({}, True, True),
        ({"n": 1}, True, True),
        ({"n": 2}, False, False),
        ({"n": "2"}, False, False),
        ({"best_of": 3}, False, False),
        ({"best_of": "x"}, False, False),
        ({"use_beam_search": True}, False, False),
        ({"use_beam_search": None}, True, True),
        ({"prompt_logprobs": 1}, False, False),
        ({"prompt_logprobs": 0}, False, False),
        ({"prompt_logprobs": None}, True, True),
        ({"logprobs": 1}, True, True),
        ({"echo": True}, False, True),
        ({"echo": True, "logprobs": 0}, False, False),
        ({"echo": False, "logprobs": 5}, True, True),
        ({"prompt_embeds": "abc"}, False, False),
        ({"stream": True, "stream_options": {"include_usage": True}}, True, True),
        ({"stream_options": {"include_usage": True}}, False, False),
        ({"stream": False, "stream_options": None}, True, True),
        ({"min_tokens": 3}, True, True),
        ({"min_tokens": None}, True, True),
        ({"min_tokens": -1}, False, False),
        ({"min_tokens": "many"}, False, False),
        ({"max_tokens": 5, "max_completion_tokens": None}, True, True),
        ({"max_tokens": "1e3"}, False, False),
        ({"max_tokens": "null"}, False, False),
        ({"max_completion_tokens": "1e3"}, False, False),
        ({"stream": "null"}, False, False),
        ({"stream": True, "stream_options": "null"}, False, False),
        ({"stream": True, "stream_options": {"include_usage": "null"}}, False, False),
        ({"stream": True, "stream_options": {"include_usage": None, "continuous_usage_stats": True}}, True, True),
        ({"stream": True, "stream_options": {}}, True, True),
        ({"stream": True, "stream_options": {"other": 1}}, False, False),
        ({"truncate_prompt_tokens": -1}, False, False),
    ],
)
def test_one_prompt_with_one_answer_and_no_scores_is_pairable(
    fields: dict[str, Any], chat: bool, completions: bool
) -> None:
    assert pairable(Api.CHAT, **fields) is chat
    assert pairable(Api.COMPLETIONS, **fields) is completions


def test_whatever_a_prefill_rank_is_sent_otherwise_has_to_be_plain() -> None:
    changed = {"stream", *NOT_FOR_PREFILL, *(name for names in LIMITS.values() for name in names)}
    assert set(PLAIN) == changed


@pytest.mark.parametrize(
    ("given", "expected"),
    [(["a"], True), (["a", "b"], False), ([1, 2], True), ([[1, 2]], True), ([[1], [2]], False)],
)
def test_several_prompts_are_not(given: Any, expected: bool) -> None:
    assert pairable(Api.COMPLETIONS, prompt=given) is expected
