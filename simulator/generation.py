"""What a completion or chat request asks for: from JSON to one frozen value, or to the error vLLM gives. Pure.

Errors come in vLLM's order: types, then contradictions within the body, then the model, the prompt, the sampling.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

import msgspec

from simulator import validation
from simulator.api_errors import bad_request, bad_value, problem, schema_error, unknown_model, while_read
from simulator.prompt import Prompt, chat_prompt, forwarded_prompt, given_prompt, no_prompt, output_limits
from simulator.settings import RankSettings
from simulator.transfer_params import RemoteKv, forwarded_ids, remote_kv, wants_decode

_COMPLETION_MAX_TOKENS: Final = 16
_MOST_CHOICES: Final = 16_384
"""The limit vLLM sets to `n`. Here it holds for all prompts together: the rank must outlive whatever it is asked."""
_MOST_LOGPROBS: Final = 20
_GREEDY_BELOW: Final = 1e-5
"""A lower temperature is none."""
_JSON_TYPES: Final = ("array", "boolean", "integer", "null", "number", "object", "string")


class Generation(msgspec.Struct, frozen=True, kw_only=True):
    """One request, checked. `logprobs` is how many alternatives are wanted, None for no log probabilities.

    `shows_cached`: the usage tells the cached tokens. `keeps_kv`: the KV is for another rank to decode from. `pull`: it
    comes from another rank. Both hold for each of the sequences, as in vLLM. `spare`: it is kept there for nothing,
    since it is computed here.
    """

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
    shows_cached: bool = False
    keeps_kv: bool = False
    pull: RemoteKv | None = None
    spare: RemoteKv | None = None


def completion(data: Mapping[str, Any], settings: RankSettings) -> Generation:
    """A /v1/completions body; raises ApiError."""
    validation.check(data, validation.COMPLETION)
    _check_stream_options(data)
    prompt = data.get("prompt")
    if not prompt:
        raise while_read(no_prompt())
    _check_model(data, settings)
    many = prompt if isinstance(prompt, list) and not isinstance(prompt[0], int) else [prompt]
    prompts = tuple(given_prompt(each) for each in many)
    wanted = _whole(data.get("max_tokens"), _COMPLETION_MAX_TOKENS)
    limits = output_limits(prompts, wanted, "max_tokens", settings)
    return Generation(
        api="completion",
        prompts=prompts,
        max_tokens=limits,
        echo=bool(data.get("echo")),
        logprobs=None if data.get("logprobs") is None else _alternatives(data, "logprobs"),
        **_sampling(data, limits),
        **_by_settings(data, settings),
    )


def chat(data: Mapping[str, Any], settings: RankSettings) -> Generation:
    """A /v1/chat/completions body; raises ApiError."""
    if "messages" not in data:
        raise schema_error([problem("missing", "body.messages", "Field required", data)])
    if data["messages"] is None:
        raise while_read(bad_request("'NoneType' object is not iterable"))
    validation.check(data, validation.CHAT)
    _check_stream_options(data)
    if data.get("tools") and data.get("tool_choice", "auto") == "auto":
        raise bad_request('"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set')
    _check_model(data, settings)
    _check_grammar(data.get("response_format"))
    prompts = (_chat_prompt(data, settings),)
    limit = "max_completion_tokens" if data.get("max_completion_tokens") is not None else "max_tokens"
    wanted = data.get(limit)
    top = _alternatives(data, "top_logprobs")
    limits = output_limits(prompts, None if wanted is None else int(wanted), limit, settings)
    return Generation(
        api="chat",
        prompts=prompts,
        max_tokens=limits,
        logprobs=top if data.get("logprobs") else None,
        **_sampling(data, limits),
        **_by_settings(data, settings),
    )


def _chat_prompt(data: Mapping[str, Any], settings: RankSettings) -> Prompt:
    """The ids that came with the params, else the conversation; with `echo` or other parts than text the latter."""
    ids = forwarded_ids(data)
    if ids is None or data.get("echo") or _has_media(data["messages"]):
        return chat_prompt(data["messages"], settings)
    return forwarded_prompt(ids)


def _has_media(messages: list[dict[str, Any]]) -> bool:
    contents = [message.get("content") for message in messages]
    return any(part["type"] != "text" for content in contents if isinstance(content, list) for part in content)


def _check_stream_options(data: Mapping[str, Any]) -> None:
    if data.get("stream_options") is not None and not data.get("stream"):
        raise while_read(bad_value("Stream options can only be defined when `stream=True`.", "stream_options"))


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


def _alternatives(data: Mapping[str, Any], param: str) -> int:
    """How many log probabilities are wanted per token; raises ApiError for more than vLLM gives by default."""
    count = _whole(data.get(param), 0)
    if count < 0:
        raise while_read(bad_value(f"`{param}` must be a positive value.", param, count))
    if count > _MOST_LOGPROBS:
        text = f"Requested sample logprobs of {count}, which is greater than max allowed: {_MOST_LOGPROBS}"
        raise bad_value(text, param, count)
    return count


def _sampling(data: Mapping[str, Any], limits: tuple[int, ...]) -> dict[str, Any]:
    """The parameters both APIs share; `limits`: each prompt's output tokens. Some are checked and change nothing."""
    temperature = data.get("temperature")
    if temperature is not None and temperature < 0:
        raise bad_value(
            f"temperature must be non-negative, got {float(temperature)}.", "temperature", float(temperature)
        )
    top_p = data.get("top_p")
    if top_p is not None and not 0 < top_p <= 1:
        raise bad_value(f"top_p must be in (0, 1], got {float(top_p)}.", "top_p", float(top_p))
    n = _choices(data, len(limits))
    min_tokens = _whole(data.get("min_tokens"), 0)
    if min_tokens > (least := min(limits)):
        raise bad_request(f"min_tokens must be less than or equal to max_tokens={least}, got {min_tokens}.")
    if n > 1 and temperature is not None and temperature < _GREEDY_BELOW:
        raise bad_request(f"n must be 1 when using greedy sampling, got {n}.")
    stop = data.get("stop")
    stops = (stop,) if isinstance(stop, str) else tuple(stop or ())
    if "" in stops:
        raise bad_request("stop cannot contain an empty string.")
    options = data.get("stream_options") or {}
    include_usage = bool(options.get("include_usage"))
    return {
        "n": n,
        "min_tokens": min_tokens,
        "ignore_eos": bool(data.get("ignore_eos")),
        "stop": stops,
        "include_stop": bool(data.get("include_stop_str_in_output")),
        "stop_token_ids": frozenset(data.get("stop_token_ids") or ()),
        "stream": bool(data.get("stream")),
        "include_usage": include_usage,
        "continuous_usage": include_usage and bool(options.get("continuous_usage_stats")),
        "return_token_ids": bool(data.get("return_token_ids")),
    }


def _choices(data: Mapping[str, Any], prompts: int) -> int:
    """How many choices each of the prompts gets."""
    n = _whole(data.get("n"), 1)
    if n < 1:
        raise bad_request(f"n must be at least 1, got {n}.")
    if n > _MOST_CHOICES:
        raise bad_request(f"n must be at most {_MOST_CHOICES}, got {n}.")
    if prompts * n > _MOST_CHOICES:
        raise bad_request(f"n times the number of prompts must be at most {_MOST_CHOICES}, got {prompts * n}.")
    return n


def _by_settings(data: Mapping[str, Any], settings: RankSettings) -> dict[str, Any]:
    """What the server's options decide. KV is not pulled where a prompt's log probabilities are wanted, as in vLLM."""
    shown = {"shows_cached": settings.enable_prompt_tokens_details}
    if not settings.moves_kv:
        return shown
    computes = data.get("prompt_logprobs") is not None or (data.get("echo") and data.get("logprobs") is not None)
    return {**shown, "keeps_kv": wants_decode(data), "spare" if computes else "pull": remote_kv(data)}


def _whole(value: float | None, default: int) -> int:
    return default if value is None else int(value)
