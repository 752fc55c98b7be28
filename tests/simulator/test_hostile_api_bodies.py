"""As test_hostile_bodies, for the other APIs."""

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.simulator.rank_process import RankProcess, Reply, running_rank
from tests.simulator.test_hostile_bodies import MESSAGE, SAMPLING, spoilt_bodies, written
from tests.sse import documents_of

TEXTS: dict[str, Any] = {"model": "sim", "request_id": "r"}
ITEM = {"role": "user", "type": "message", "content": [{"type": "input_text", "text": "hi"}]}
CALL = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}
RESULT = {"type": "function_call_output", "call_id": "c", "output": "1"}
BLOCK = {"type": "text", "text": "hi"}
USE = {"type": "tool_use", "id": "t", "name": "f", "input": {"a": 1}}
DONE = {"type": "tool_result", "tool_use_id": "t", "content": [BLOCK]}
SOUND: dict[str, dict[str, Any]] = {
    "/v1/responses": {
        "model": "sim", "input": [ITEM, CALL, RESULT], "max_output_tokens": 3, "instructions": "a", "stream": True,
        "temperature": 0, "top_p": 1, "tools": [{"type": "function", "name": "f"}], "tool_choice": "auto", "user": "u",
        "metadata": {"a": "b"}, "include": ["message.output_text.logprobs"], "top_logprobs": 1, "store": True,
        "text": {}, "reasoning": {}, "truncation": "disabled", "enable_response_messages": True, "stop": ["zz"],
        "presence_penalty": 0.0, "request_id": "resp_1",
    },
    "/v1/messages": {
        "model": "sim", "max_tokens": 3, "system": [BLOCK], "stream": True, "stop_sequences": ["zz"], "top_p": 1,
        "messages": [{"role": "user", "content": [BLOCK]}, {"role": "assistant", "content": [USE]},
                     {"role": "user", "content": [DONE]}],
        "temperature": 0, "tools": [{"name": "f", "input_schema": {}}], "tool_choice": {"type": "none"},
    },
    "/inference/v1/generate": {
        **{name: SAMPLING[name] for name in ("model", "stream", "stream_options", "request_id", "return_token_ids")},
        "token_ids": [20, 21], "sampling_params": {"max_tokens": 3, "n": 1, "logprobs": 1, "stop": ["zz"], "top_p": 1},
        "output_mode": "text",
    },
    "/v1/chat/completions/batch": {"model": "sim", "messages": [[MESSAGE], [MESSAGE]], "max_tokens": 3, "n": 1},
    "/v1/embeddings": {**TEXTS, "input": ["hi"], "encoding_format": "base64", "messages": None},
    "/v2/embed": {**TEXTS, "texts": ["hi"], "embedding_types": ["float"], "input_type": "search_query"},
    "/pooling": {**TEXTS, "input": [[20]], "task": "embed"},
    "/classify": {**TEXTS, "messages": [MESSAGE]},
    "/score": {**TEXTS, "queries": "a", "documents": ["b", "c"]},
    "/rerank": {**TEXTS, "query": "a", "documents": ["b", "c"], "top_n": 1},
    "/generative_scoring": {**TEXTS, "query": "a", "items": ["b"], "label_token_ids": [20]},
    "/v1/messages/count_tokens": {"model": "sim", "messages": [{"role": "user", "content": [BLOCK]}]},
    "/v1/responses/render": {"model": "sim", "input": [ITEM], "max_output_tokens": 3, "temperature": 0},
    "/v1/chat/completions/derender": {
        "prompt_tokens": 1,
        "generate_response": {"request_id": "r", "choices": [{"token_ids": [20], "finish_reason": "stop"}]},
    },
    "/invocations": {"model": "sim", "prompt": "hi", "max_tokens": 3},
    "/inference/v1/abort_requests": {"request_ids": ["a"]},
    "/v1/load_lora_adapter": {"lora_name": "l", "lora_path": "/p", "load_inplace": True},
}  # fmt: skip


@pytest.fixture(scope="module")
def rank() -> Iterator[RankProcess]:
    with running_rank("--speed", "500", "--max-model-len", "512", "--kv-blocks", "64") as process:
        yield process


def check(reply: Reply) -> None:
    """An answer, or an error in one of the shapes that vLLM 0.32.0 was seen to use."""
    if reply.status == 200:
        assert documents_of(reply.body.decode()) if reply.chunks else reply.body is not None
        return
    found = reply.json()
    assert reply.status in (400, 404)
    assert "detail" in found or isinstance(found["error"]["message"], str)


@pytest.mark.parametrize("path", SOUND)
def test_a_sound_body_is_served(rank: RankProcess, path: str) -> None:
    reply = rank.post(path, SOUND[path])
    assert reply.status == 200, reply.body


@pytest.mark.parametrize("path", SOUND)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_spoilt_body_gets_an_answer_or_an_error(rank: RankProcess, path: str, data: st.DataObject) -> None:
    check(rank.post(path, written(data.draw(spoilt_bodies(SOUND[path])))))
