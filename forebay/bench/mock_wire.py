"""What the mock backend says, byte for byte: vLLM's answers with nothing to compute. Pure."""

from __future__ import annotations

import msgspec

from forebay.bench.stamps import STAMP

MODEL = "bench"
MAX_MODEL_LEN = 1_000_000
EVENT_BYTES = 215
"""A chunk of vLLM's chat API with one token, for a model with a name of usual length."""
MOST_TOKENS = 1_000_000
DEFAULT_TOKENS = 16
_CREATED = 1_700_000_000
_LENGTH = b'"length"'
DONE = b"data: [DONE]\n\n"


class StreamOptions(msgspec.Struct, frozen=True):
    """Of `stream_options` what the mock heeds."""

    include_usage: bool = False


class Asked(msgspec.Struct, frozen=True):
    """Of a request what the mock heeds.

    `seed` is how long to wait between two chunks, in microseconds: it is a field that every proxy passes on.
    """

    stream: bool = False
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    seed: int | None = None
    stream_options: StreamOptions | None = None

    @property
    def tokens(self) -> int:
        """How many tokens to answer with, one in each chunk."""
        return self.max_completion_tokens or self.max_tokens or DEFAULT_TOKENS

    @property
    def wants_usage(self) -> bool:
        """Whether the stream ends with a chunk that has the usage."""
        return self.stream_options is not None and self.stream_options.include_usage


def event_template(*, chat: bool, last: bool) -> bytes:
    """One event with a place for a stamp, EVENT_BYTES long when that is filled in; the last one says that it is."""
    reason = _LENGTH if last else b"null"
    if chat:
        head = b'"id":"chatcmpl-bench","object":"chat.completion.chunk"'
        choice = b'{"index":0,"delta":{"content":"%b"},"finish_reason":%b}'
    else:
        head = b'"id":"cmpl-bench","object":"text_completion"'
        choice = b'{"index":0,"text":"%b","logprobs":null,"finish_reason":%b}'
    frame = b'data: {%b,"created":%d,"model":"%b","choices":[%b]}\n\n'
    bare = frame % (head, _CREATED, MODEL.encode(), choice % (b"", reason))
    padding = b"." * (EVENT_BYTES - len(bare) - len(STAMP % (0, 0)))
    return frame % (head, _CREATED, MODEL.encode(), choice % (STAMP + padding, reason))


def usage_event(*, chat: bool, prompt_tokens: int, tokens: int) -> bytes:
    """The event with no choice that ends a stream of which the usage was asked for."""
    return b"data: %b\n\n" % msgspec.json.encode(
        {
            "id": "chatcmpl-bench" if chat else "cmpl-bench",
            "object": "chat.completion.chunk" if chat else "text_completion",
            "created": _CREATED,
            "model": MODEL,
            "choices": [],
            "usage": _usage(prompt_tokens, tokens),
        }
    )


def whole_answer(*, chat: bool, prompt_tokens: int, tokens: int, sent_ns: int, arrived_ns: int) -> bytes:
    """An answer that is not streamed."""
    text = (STAMP % (sent_ns, arrived_ns)).decode() + "." * tokens
    content = {"message": {"role": "assistant", "content": text}} if chat else {"text": text}
    return msgspec.json.encode(
        {
            "id": "chatcmpl-bench" if chat else "cmpl-bench",
            "object": "chat.completion" if chat else "text_completion",
            "created": _CREATED,
            "model": MODEL,
            "choices": [{"index": 0, **content, "logprobs": None, "finish_reason": "length"}],
            "usage": _usage(prompt_tokens, tokens),
        }
    )


def models() -> bytes:
    """`/v1/models`."""
    model = {"id": MODEL, "object": "model", "created": _CREATED, "owned_by": "vllm", "root": MODEL}
    return msgspec.json.encode({"object": "list", "data": [{**model, "max_model_len": MAX_MODEL_LEN}]})


def metrics(*, running: int, steps: int, prompt_tokens: int) -> bytes:
    """`/metrics`, of vLLM's families those that an agent reads."""
    labels = f'engine="0",model_name="{MODEL}"'
    values = {
        "num_requests_running": running,
        "num_requests_waiting": 0,
        "kv_cache_usage_perc": 0,
        "iteration_tokens_total_count": steps,
        "generation_tokens_total": steps,
        "prompt_tokens_total": prompt_tokens,
    }
    lines = [f"vllm:{name}{{{labels}}} {float(value)}" for name, value in values.items()]
    cache = 'block_size="16",cache_dtype="auto",engine="0",num_gpu_blocks="62500000"'
    return "\n".join([*lines, f"vllm:cache_config_info{{{cache}}} 1.0", ""]).encode()


def _usage(prompt_tokens: int, tokens: int) -> dict[str, int]:
    return {"prompt_tokens": prompt_tokens, "completion_tokens": tokens, "total_tokens": prompt_tokens + tokens}
