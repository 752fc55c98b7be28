"""Which requests may be served in two legs."""

import json
from typing import Any

import pytest

from gateway import prompt, wire
from gateway.leg_bodies import NOT_FOR_PREFILL
from gateway.pairable import PLAIN, is_pairable
from gateway.wire import LIMITS, Api

CHAT = {"messages": [{"role": "user", "content": "x"}]}
ASKED: dict[Api, dict[str, Any]] = {
    Api.CHAT: CHAT,
    Api.COMPLETIONS: {"prompt": "x"},
    Api.RESPONSES: {"input": "x"},
    Api.MESSAGES: CHAT | {"max_tokens": 2000},
    Api.GENERATE: {"token_ids": [1, 2], "sampling_params": {"temperature": 0}},
}


def pairable(api: Api, **fields: Any) -> bool:
    body = wire.read(json.dumps(ASKED[api] | fields).encode(), api)
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
    changed = {"stream", "store", *NOT_FOR_PREFILL, *(name for names in LIMITS.values() for name in names)}
    assert set(PLAIN) == changed


@pytest.mark.parametrize(
    ("given", "expected"),
    [(["a"], True), (["a", "b"], False), ([1, 2], True), ([[1, 2]], True), ([[1], [2]], False)],
)
def test_several_prompts_are_not(given: Any, expected: bool) -> None:
    assert pairable(Api.COMPLETIONS, prompt=given) is expected


FUNCTION = {"type": "function", "name": "f", "parameters": {}}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, True),
        ({"max_output_tokens": 5, "stream": True, "store": False, "background": False}, True),
        ({"max_output_tokens": "5"}, False),
        ({"store": "no"}, False),
        ({"background": True}, False),
        ({"previous_response_id": "resp_1"}, False),
        ({"truncation": "disabled"}, True),
        ({"truncation": "auto"}, False),
        ({"tools": [FUNCTION, {"type": "custom", "name": "g"}], "tool_choice": "auto"}, True),
        ({"tools": [FUNCTION, {"type": "code_interpreter"}]}, False),
        ({"tools": [{"type": "mcp"}]}, False),
        ({"tools": "x"}, False),
        ({"tools": [FUNCTION], "tool_choice": "required"}, False),
        ({"tools": [FUNCTION], "tool_choice": {"type": "function", "name": "f"}}, False),
        ({"tools": [FUNCTION], "tool_choice": 5}, False),
    ],
)
def test_a_response_is_pairable_unless_it_depends_on_one_rank(fields: dict[str, Any], expected: bool) -> None:
    assert pairable(Api.RESPONSES, **fields) is expected


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, True),
        ({"max_tokens": 0}, False),
        ({"max_tokens": None}, False),
        ({"thinking": {"type": "enabled", "budget_tokens": 1999}}, True),
        ({"thinking": {"type": "enabled", "budget_tokens": 2000}}, False),
        ({"thinking": {"type": "adaptive"}}, True),
        ({"thinking": {"type": "enabled", "budget_tokens": "many"}}, False),
        ({"tool_choice": {"type": "auto"}}, True),
        ({"tool_choice": {"type": "none"}}, True),
        ({"tool_choice": {"type": "any"}}, False),
        ({"tool_choice": {"type": "tool", "name": "f"}}, False),
    ],
)
def test_a_message_is_pairable_unless_one_token_would_be_refused(fields: dict[str, Any], expected: bool) -> None:
    assert pairable(Api.MESSAGES, **fields) is expected


@pytest.mark.parametrize(
    ("sampling", "expected"),
    [
        ({"n": 1, "max_tokens": 5}, True),
        ({"n": 2}, False),
        ({"max_tokens": 0}, False),
        ({"max_tokens": None}, False),
        ({"min_tokens": 16}, True),
        ({"min_tokens": 17}, False),
        ({"min_tokens": 17, "max_tokens": 17}, True),
        ({"min_tokens": -1}, False),
        ({"prompt_logprobs": 0}, False),
        ({"prompt_logprob_token_ids": [[1]]}, False),
        ({"skip_reading_prefix_cache": True}, False),
    ],
)
def test_generation_from_ids_is_pairable_unless_its_sampling_says_otherwise(
    sampling: dict[str, Any], expected: bool
) -> None:
    assert pairable(Api.GENERATE, sampling_params=sampling | {"top_p": 0.5}) is expected


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"features": None, "content_parts": []}, True),
        ({"features": {"mm_hashes": {}}}, False),
        ({"content_parts": [{"type": "image_url"}]}, False),
        ({"sampling_params": {}}, False),
        ({"sampling_params": 5}, False),
        ({"stream_options": {"include_usage": True}}, False),
        ({"stream": True, "stream_options": {"include_usage": True}}, True),
    ],
)
def test_generation_from_ids_is_pairable_if_it_is_all_tokens(fields: dict[str, Any], expected: bool) -> None:
    assert pairable(Api.GENERATE, **fields) is expected
