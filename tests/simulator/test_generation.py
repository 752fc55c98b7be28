"""Whatever JSON comes in, it is a request or an error vLLM could give."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator import validation
from simulator.api_errors import ApiError
from simulator.apis import chat, completions
from simulator.settings import RankSettings

SETTINGS = RankSettings(model="tiny", max_model_len=64)
scalars = st.none() | st.booleans() | st.integers(-3, 2**70) | st.floats() | st.text(max_size=5)
values = st.recursive(
    scalars, lambda each: st.lists(each, max_size=3) | st.dictionaries(st.text(max_size=3), each, max_size=2)
)
parts = st.fixed_dictionaries({"type": st.just("text") | scalars, "text": scalars})
messages = st.lists(
    st.fixed_dictionaries(
        {}, optional={"role": st.just("user") | values, "content": values | st.lists(parts, max_size=2)}
    ),
    max_size=2,
)
formats = st.fixed_dictionaries({"type": st.just("json_schema") | values, "json_schema": values})


def bodies(fields: validation.Fields) -> st.SearchStrategy[dict[str, Any]]:
    optional = dict.fromkeys(fields, values) | {"tools": values, "tool_choice": values, "request_id": values}
    return st.fixed_dictionaries({}, optional=optional)


def read(reader: Callable[[], Any]) -> Any:
    """What is read, or None where it is refused; any other error is one of ours."""
    with suppress(ApiError):
        return reader()
    return None


@given(bodies(validation.COMPLETION))
def test_a_completion_body_is_read_or_refused(body: dict[str, Any]) -> None:
    found = read(lambda: completions.read(body, SETTINGS))
    if found is not None:
        assert all(prompt.ids and limit >= 1 for prompt, limit in zip(found.prompts, found.max_tokens, strict=True))


@given(bodies(validation.CHAT), messages, formats | st.none())
def test_a_chat_body_is_read_or_refused(body: dict[str, Any], asked: Any, response_format: Any) -> None:
    body = {**body, "messages": asked, "response_format": response_format}
    found = read(lambda: chat.read(body, SETTINGS))
    assert found is None or found.prompts[0].ids


@given(st.binary(max_size=30) | st.text(max_size=20).map(str.encode))
def test_any_body_is_an_object_or_refused(body: bytes) -> None:
    assert isinstance(read(lambda: validation.read_json(body, "application/json")), dict | type(None))


@pytest.mark.parametrize("prompt", [[""], [[]], [[], [1]], ["a", ""]])
def test_an_empty_prompt_among_others_is_refused(prompt: list[Any]) -> None:
    with pytest.raises(ApiError, match="Either prompt"):
        completions.read({"prompt": prompt}, SETTINGS)


def test_a_lone_surrogate_is_refused() -> None:
    with pytest.raises(ApiError, match="surrogates"):
        completions.read(validation.read_json(b'{"prompt":"\\ud800"}', "application/json"), SETTINGS)
    with pytest.raises(ApiError, match="surrogates"):
        chat.read({"messages": [{"role": "user", "content": "\ud800"}]}, SETTINGS)


def test_output_beyond_the_context_is_refused() -> None:
    with pytest.raises(ApiError, match="for a total of 65 tokens"):
        completions.read({"prompt": [1] * 60, "max_tokens": 5}, SETTINGS)


def test_max_completion_tokens_win() -> None:
    asked = {"messages": [{"role": "user", "content": "x"}], "max_tokens": 5, "max_completion_tokens": 3}
    assert chat.read(asked, SETTINGS).max_tokens == (3,)


def test_a_chat_without_a_limit_may_fill_the_context() -> None:
    asked = {"messages": [{"role": "user", "content": "x"}]}
    found = chat.read(asked, SETTINGS)
    assert found.max_tokens == (64 - len(found.prompts[0].ids),)
