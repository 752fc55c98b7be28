"""What a completion or chat request asks for: from JSON to one frozen value, or to the error vLLM gives.

Errors come in vLLM's order: types, then contradictions within the body, then the model, the prompt, the sampling.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

import msgspec

from simulator import chat_template, tokens, validation
from simulator.api_errors import ApiError, bad_request, bad_value, problem, schema_error, unknown_model
from simulator.settings import RankSettings

_COMPLETION_MAX_TOKENS: Final = 16
_MOST_CHOICES: Final = 16_384
_JSON_TYPES: Final = ("array", "boolean", "integer", "null", "number", "object", "string")


class Prompt(msgspec.Struct, frozen=True):
    """One prompt's ids and where they came from; a chat has been rendered and has no text of its own."""

    ids: list[int]
    source: Literal["text", "ids", "chat"]
    text: str = ""


class Generation(msgspec.Struct, frozen=True, kw_only=True):
    """One request, checked. `logprobs` is how many alternatives are wanted, None for no log probabilities."""

    api: Literal["completion", "chat"]
    prompts: tuple[Prompt, ...]
    max_tokens: tuple[int, ...]
    n: int = 1
    min_tokens: int = 0
    ignore_eos: bool = False
    stop: tuple[str, ...] = ()
    include_stop: bool = False
    stop_token_ids: frozenset[int] = frozenset()
    stream: bool = False
    include_usage: bool = False
    continuous_usage: bool = False
    echo: bool = False
    logprobs: int | None = None
    return_token_ids: bool = False


def completion(data: Mapping[str, Any], settings: RankSettings) -> Generation:
    """A /v1/completions body; raises ApiError."""
    validation.check(data, validation.COMPLETION)
    _check_stream_options(data)
    prompt = data.get("prompt")
    if not prompt:
        raise _no_prompt()
    _check_model(data, settings)
    many = prompt if isinstance(prompt, list) and not isinstance(prompt[0], int) else [prompt]
    prompts = tuple(_prompt(each) for each in many)
    wanted = _whole(data.get("max_tokens"), _COMPLETION_MAX_TOKENS)
    return Generation(
        api="completion",
        prompts=prompts,
        max_tokens=_check_lengths(prompts, wanted, "max_tokens", settings),
        echo=bool(data.get("echo")),
        logprobs=data.get("logprobs"),
        **_sampling(data),
    )


def chat(data: Mapping[str, Any], settings: RankSettings) -> Generation:
    """A /v1/chat/completions body; raises ApiError."""
    if data.get("messages") is None:
        raise schema_error([problem("missing", "body.messages", "Field required", data)])
    validation.check(data, validation.CHAT)
    _check_stream_options(data)
    if data.get("tools") and data.get("tool_choice", "auto") == "auto":
        raise bad_request('"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set')
    _check_model(data, settings)
    _check_grammar(data.get("response_format"))
    prompts = (chat_prompt(data["messages"], settings),)
    limit = "max_completion_tokens" if data.get("max_completion_tokens") is not None else "max_tokens"
    wanted = data.get(limit)
    top = _whole(data.get("top_logprobs"), 0)
    return Generation(
        api="chat",
        prompts=prompts,
        max_tokens=_check_lengths(prompts, None if wanted is None else int(wanted), limit, settings),
        logprobs=top if data.get("logprobs") else None,
        **_sampling(data),
    )


def chat_prompt(messages: list[dict[str, Any]], settings: RankSettings) -> Prompt:
    """The rendered conversation; raises ApiError where the template or the model cannot take it."""
    if not messages:
        raise bad_request("Cannot apply chat template to an empty conversation. Provide at least one message.")
    for message in messages:
        content = message.get("content")
        if isinstance(content, list) and any(part["type"] not in ("text", "refusal") for part in content):
            raise bad_request(f"{settings.model} is not a multimodal model")
    try:
        return Prompt(chat_template.render(messages), "chat")
    except UnicodeEncodeError as error:
        raise _surrogate(error) from None


def text_prompt(text: str) -> Prompt:
    """A tokenized text; raises ApiError for lone surrogates."""
    try:
        return Prompt(tokens.encode(text), "text", text)
    except UnicodeEncodeError as error:
        raise _surrogate(error) from None


def _no_prompt() -> ApiError:
    return bad_value("Either prompt or prompt_embeds must be provided and non-empty.", "prompt")


def _surrogate(error: UnicodeEncodeError) -> ApiError:
    return bad_request(str(error))


def _prompt(value: Any) -> Prompt:
    if not value:
        raise _no_prompt()
    if isinstance(value, str):
        return text_prompt(value)
    unknown = tokens.first_unknown(value)
    if unknown is not None:
        raise bad_request(f"Token id {unknown} is out of vocabulary")
    return Prompt(value, "ids")


def _check_stream_options(data: Mapping[str, Any]) -> None:
    if data.get("stream_options") is not None and not data.get("stream"):
        raise bad_value("Stream options can only be defined when `stream=True`.", "stream_options")


def _check_model(data: Mapping[str, Any], settings: RankSettings) -> None:
    """No model named is this one, as in vLLM."""
    name = data.get("model")
    if name and name != settings.model:
        raise unknown_model(name, settings.model)


def _check_grammar(response_format: dict[str, Any] | None) -> None:
    """Refuse a JSON schema whose type is none; otherwise structured output is asked for in vain."""
    schema = ((response_format or {}).get("json_schema") or {}).get("schema") or {}
    kind = schema.get("type")
    if isinstance(kind, str) and kind not in _JSON_TYPES:
        raise bad_request(f"Grammar error: Invalid type: {kind}")


def _check_lengths(
    prompts: tuple[Prompt, ...], wanted: int | None, param: str, settings: RankSettings
) -> tuple[int, ...]:
    """Output tokens each prompt may get: what is wanted, else the rest of the context; raises ApiError."""
    context = settings.max_model_len
    if wanted is not None and wanted > context:
        text = f"{param}={wanted} cannot be greater than max_model_len={context}. Please request fewer output tokens."
        raise bad_value(text, param, wanted)
    for prompt in prompts:
        _check_length(prompt, max(wanted or 0, 0), context)
    if wanted is not None and wanted < 1:
        raise bad_value(f"max_tokens must be at least 1, got {wanted}.", "max_tokens", wanted)
    return tuple(context - len(prompt.ids) if wanted is None else wanted for prompt in prompts)


def _check_length(prompt: Prompt, wanted: int, context: int) -> None:
    count = len(prompt.ids)
    if prompt.source == "ids":
        shown, value = str(count), count
    else:
        # vLLM stops tokenizing a text one token past the context.
        value = min(count, context + 1)
        shown = f"at least {value}" if count > context else str(count)
    start = f"This model's maximum context length is {context} tokens. However, "
    if count >= context:
        text = (
            f"{start}your prompt contains {shown} input tokens, which exceeds this limit even without any output "
            "tokens. Please reduce the length of the input prompt."
        )
        raise bad_value(text, "input_tokens", value)
    if count + wanted > context:
        text = (
            f"{start}you requested {wanted} output tokens and your prompt contains {shown} input tokens, for a total "
            f"of {count + wanted} tokens. Please reduce the length of the input prompt or the number of requested "
            "output tokens."
        )
        raise bad_value(text, "input_tokens", value)


def _sampling(data: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters both APIs share; temperature and top_p are checked and change nothing."""
    temperature = data.get("temperature")
    if temperature is not None and temperature < 0:
        raise bad_value(
            f"temperature must be non-negative, got {float(temperature)}.", "temperature", float(temperature)
        )
    top_p = data.get("top_p")
    if top_p is not None and not 0 < top_p <= 1:
        raise bad_value(f"top_p must be in (0, 1], got {float(top_p)}.", "top_p", float(top_p))
    n = _whole(data.get("n"), 1)
    if n < 1:
        raise bad_request(f"n must be at least 1, got {n}.")
    if n > _MOST_CHOICES:
        raise bad_request(f"n must be at most {_MOST_CHOICES}, got {n}.")
    stop = data.get("stop") or ()
    options = data.get("stream_options") or {}
    include_usage = bool(options.get("include_usage"))
    return {
        "n": n,
        "min_tokens": _whole(data.get("min_tokens"), 0),
        "ignore_eos": bool(data.get("ignore_eos")),
        "stop": (stop,) if isinstance(stop, str) else tuple(stop),
        "include_stop": bool(data.get("include_stop_str_in_output")),
        "stop_token_ids": frozenset(data.get("stop_token_ids") or ()),
        "stream": bool(data.get("stream")),
        "include_usage": include_usage,
        "continuous_usage": include_usage and bool(options.get("continuous_usage_stats")),
        "return_token_ids": bool(data.get("return_token_ids")),
    }


def _whole(value: float | None, default: int) -> int:
    return default if value is None else int(value)
