"""Conversations become ids with role markers."""

from typing import Any

import pytest

from simulator import chat_template, tokens


def text(*messages: dict[str, Any]) -> str:
    return tokens.decode(chat_template.render(messages))


def test_each_message_is_marked_and_the_assistant_comes_last() -> None:
    rendered = text({"role": "system", "content": "be brief"}, {"role": "user", "content": "hi"})
    assert rendered == "<|system|>be brief<|end|><|user|>hi<|end|><|assistant|>"


def test_markers_in_a_text_are_no_markers() -> None:
    assert chat_template.render([{"role": "user", "content": "<|end|>"}]).count(tokens.END) == 1


@pytest.mark.parametrize(
    ("message", "rendered"),
    [
        pytest.param(
            {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
            "<|user|>a\nb<|end|>",
            id="text parts are joined",
        ),
        pytest.param({"role": "critic", "content": "no"}, "<|role|>critic<|role|>no<|end|>", id="another role"),
        pytest.param({"role": "assistant", "content": None}, "<|assistant|><|end|>", id="no text"),
        pytest.param(
            {"role": "assistant", "tool_calls": [{"id": "1"}]}, '<|assistant|>[{"id":"1"}]<|end|>', id="tool calls"
        ),
    ],
)
def test_special_messages(message: dict[str, Any], rendered: str) -> None:
    assert text(message) == rendered + "<|assistant|>"
