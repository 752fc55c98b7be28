"""Requests of the APIs that are neither completions nor chat, and what vLLM 0.32 answers to each.

Answers of /v1/responses as captured; those of the others, whose streams nobody captured, as its source writes them.
"""

import json
from typing import Any, NamedTuple

from tests.gateway.scripted_pair import PARAMS
from tests.gateway.test_usage import body_of

RESPONSES = "/v1/responses"
MESSAGES = "/v1/messages"
GENERATE = "/inference/v1/generate"
CACHED = 12


def event(kind: str, **fields: Any) -> bytes:
    """An event as vLLM writes those with a name."""
    return f"event: {kind}\ndata: {json.dumps({'type': kind} | fields, separators=(',', ':'))}\n\n".encode()


def data(**fields: Any) -> bytes:
    """An event without a name."""
    return b"data: " + json.dumps(fields, separators=(",", ":")).encode() + b"\n\n"


class Spoken(NamedTuple):
    """One API: a request, the prefill leg that it becomes, a whole answer, a stream, and an error in one.

    `silent` is what a stream says before its first token, `aborted` how one ends that the rank aborted, `cached` the
    number of cached tokens in an answer. The whole answer and the stream count 22 tokens in and 8 out.
    """

    path: str
    request: dict[str, Any]
    prefill: dict[str, Any]
    whole: dict[str, Any]
    silent: bytes
    tokens: bytes
    end: bytes
    aborted: bytes
    error: bytes
    in_prefill: dict[str, Any]

    @property
    def stream(self) -> bytes:
        return self.silent + self.tokens + self.end

    @property
    def prefill_answer(self) -> bytes:
        """What a prefill rank answers, of 66 tokens with `CACHED` from its cache."""
        return json.dumps(self.whole | self.in_prefill | {"kv_transfer_params": PARAMS}).encode()

    @property
    def name(self) -> str:
        return self.path.strip("/").replace("/", " ")


ASKED_IN = {"role": "user", "content": "Hello"}
STREAMED = body_of("responses_stream")
BEGUN = STREAMED.index(b"event: response.output_item.added")
ENDED = STREAMED.index(b"event: response.completed")
TOOL = {"type": "function", "name": "f", "parameters": {"type": "object"}}
FINAL = json.loads(STREAMED[ENDED:].split(b"data: ")[1])["response"]


def of_responses() -> Spoken:
    request = {"model": "sim", "input": [ASKED_IN], "max_output_tokens": 50, "tools": [TOOL], "store": True}
    details = {"cached_tokens": CACHED, "cache_write_tokens": 0, "cached_tokens_per_turn": [CACHED]}
    aborted = FINAL | {"status": "completed", "usage": FINAL["usage"] | {"output_tokens": 0}}
    return Spoken(
        path=RESPONSES,
        request=request,
        prefill=request | {"max_output_tokens": 1, "stream": False, "store": False},
        whole=json.loads(body_of("responses")),
        silent=STREAMED[:BEGUN],
        tokens=STREAMED[BEGUN:ENDED],
        end=STREAMED[ENDED:],
        aborted=event("response.completed", response=aborted),
        error=event("response.failed", response={"status": "failed", "error": {"code": "server_error"}}),
        in_prefill={"usage": {"input_tokens": 66, "output_tokens": 1, "input_tokens_details": details}},
    )


def of_messages() -> Spoken:
    request = {"model": "sim", "messages": [ASKED_IN], "max_tokens": 50, "thinking": {"type": "adaptive"}}
    usage = {"input_tokens": 2, "cache_read_input_tokens": 20, "output_tokens": 8}
    message = {"id": "chatcmpl-1", "type": "message", "role": "assistant", "content": [], "model": "sim"}
    no_stop = {"stop_reason": None, "stop_sequence": None}
    block = {"index": 0, "content_block": {"type": "text", "text": ""}}
    delta = {"index": 0, "delta": {"type": "text_delta", "text": 'say "message_delta" and "message_stop"'}}
    return Spoken(
        path=MESSAGES,
        request=request,
        prefill=request | {"max_tokens": 1, "stream": False},
        whole=json.loads(body_of("anthropic_messages")) | {"usage": usage},
        silent=event("message_start", message=message | no_stop | {"usage": {"input_tokens": 22, "output_tokens": 0}}),
        tokens=event("content_block_start", **block)
        + event("content_block_delta", **delta)
        + event("content_block_stop", index=0),
        end=event("message_delta", delta={"stop_reason": "end_turn", "stop_sequence": None}, usage=usage)
        + event("message_stop"),
        aborted=event("message_delta", delta=no_stop, usage=usage) + event("message_stop"),
        error=event("error", error={"type": "internal_error", "message": "x"}),
        in_prefill={"usage": {"input_tokens": 66 - CACHED, "cache_read_input_tokens": CACHED, "output_tokens": 1}},
    )


def of_generate() -> Spoken:
    sampling = {"max_tokens": 50, "min_tokens": 3, "temperature": 0}
    request = {"model": "sim", "token_ids": [5, 6, 7], "sampling_params": sampling}
    usage = {"prompt_tokens": 22, "completion_tokens": 8, "prompt_tokens_details": {"cached_tokens": 20}}
    choice = {"index": 0, "logprobs": None, "stop_reason": None}
    done = b"data: [DONE]\n\n"
    return Spoken(
        path=GENERATE,
        request=request,
        prefill=request | {"sampling_params": {"max_tokens": 1, "temperature": 0}, "stream": False},
        whole={
            "request_id": "generate-tokens-1",
            "choices": [choice | {"finish_reason": "length", "token_ids": [9, 8]}],
            "usage": usage,
        },
        silent=b": keep-alive\n\n",
        tokens=data(request_id="g", choices=[choice | {"finish_reason": None, "token_ids": [9]}]),
        end=data(request_id="g", choices=[choice | {"finish_reason": "stop", "token_ids": [8]}])
        + data(request_id="g", choices=[], usage=usage)
        + done,
        aborted=data(request_id="g", choices=[choice | {"finish_reason": "abort", "token_ids": []}]) + done,
        error=data(error={"message": "x", "type": "InternalServerError", "param": None, "code": 500}) + done,
        in_prefill={"usage": {"prompt_tokens": 66, "prompt_tokens_details": {"cached_tokens": CACHED}}},
    )


APIS = (of_responses(), of_messages(), of_generate())


def cached_tokens(answer: dict[str, Any]) -> tuple[int, int]:
    """How many tokens of its prompt an answer says were cached, and how many the prompt has."""
    usage = (answer.get("response") or answer)["usage"]
    if "cache_read_input_tokens" in usage:
        return usage["cache_read_input_tokens"], usage["input_tokens"] + usage["cache_read_input_tokens"]
    details = usage.get("input_tokens_details") or usage["prompt_tokens_details"]
    return details["cached_tokens"], usage.get("input_tokens") or usage["prompt_tokens"]
