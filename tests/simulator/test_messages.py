"""Anthropic's API on a simulated rank."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.simulator.oracle import right_chat_text
from tests.simulator.rank_process import RankProcess, running_rank
from tests.sse import documents_of

MESSAGES = "/v1/messages"
ASKED = {"model": "sim", "max_tokens": 20, "messages": [{"role": "user", "content": "Tell me of turbines."}]}


@pytest.fixture(scope="module")
def rank() -> Iterator[RankProcess]:
    with running_rank("--speed", "100", "--mean-output-tokens", "1000000") as process:
        yield process


def said(rank: RankProcess, **more: Any) -> str:
    (block,) = rank.post(MESSAGES, ASKED | more).json()["content"]
    assert block["type"] == "text"
    return str(block["text"])


def test_a_message_is_the_same_streamed_and_whole(rank: RankProcess) -> None:
    events = documents_of(rank.post(MESSAGES, ASKED | {"stream": True}).body.decode())
    text = "".join(event["delta"]["text"] for event in events if event["type"] == "content_block_delta")
    assert (
        text
        == said(rank)
        == right_chat_text([{"role": "user", "content": "Tell me of turbines."}], 20, ignore_eos=True)
    )


def test_what_a_message_costs_is_what_was_counted_before(rank: RankProcess) -> None:
    counted = rank.post(f"{MESSAGES}/count_tokens", {name: ASKED[name] for name in ("model", "messages")}).json()
    usage = rank.post(MESSAGES, ASKED).json()["usage"]
    assert usage == {"input_tokens": counted["input_tokens"], "output_tokens": 20}


def test_a_conversation_with_tools_and_a_system_is_read_as_a_chat(rank: RankProcess) -> None:
    use = {"type": "tool_use", "id": "t1", "name": "f", "input": {"a": 1}}
    result = {"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "text", "text": "42"}]}
    talk = [
        {"role": "user", "content": "What is it?"},
        {"role": "assistant", "content": [{"type": "text", "text": "Let me see."}, use]},
        {"role": "user", "content": [result, {"type": "text", "text": "Well?"}]},
    ]
    system = [{"type": "text", "text": "x-anthropic-billing-header: 7"}, {"type": "text", "text": "Be brief."}]
    calls = [{"id": "t1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}]
    chat: list[Any] = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "What is it?"},
        {"role": "assistant", "content": "Let me see.", "tool_calls": calls},
        {"role": "tool", "content": "42"},
        {"role": "user", "content": "Well?"},
    ]
    assert said(rank, messages=talk, system=system) == right_chat_text(chat, 20, ignore_eos=True)


@pytest.mark.parametrize(
    ("fields", "reason"), [({"max_tokens": 3}, "max_tokens"), ({"stop_sequences": [" "]}, "stop_sequence")]
)
def test_a_message_says_why_it_ends(rank: RankProcess, fields: dict[str, Any], reason: str) -> None:
    assert rank.post(MESSAGES, ASKED | {"max_tokens": 500} | fields).json()["stop_reason"] == reason


def test_a_fault_has_anthropics_shape(rank: RankProcess) -> None:
    rank.post("/sim/fault", {"kind": "error", "status": 503, "count": 1})
    reply = rank.post(MESSAGES, ASKED)
    assert (reply.status, reply.json()["type"]) == (503, "error")
