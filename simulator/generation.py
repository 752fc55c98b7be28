"""What a request asks of an engine: from JSON to one frozen value, or to the error vLLM gives. Pure.

Here is what the APIs have in common. Errors come in vLLM's order: types, then contradictions within the body, then the
model, the prompt, the sampling.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from simulator import joint_params
from simulator.api_errors import bad_request, bad_value, unknown_model, while_read
from simulator.layer_params import LayerLeg, layer_leg
from simulator.leg_params import remote_kv
from simulator.prompt import Prompt
from simulator.settings import RankSettings
from simulator.transfer_params import RemoteKv, wants_decode

_MOST_CHOICES: Final = 16_384
"""The limit vLLM sets to `n`. Here it holds for all prompts together: the rank must outlive whatever it is asked."""
_MOST_LOGPROBS: Final = 20
_GREEDY_BELOW: Final = 1e-5
"""A lower temperature is none."""


class Generation(msgspec.Struct, frozen=True, kw_only=True):
    """One request, checked. `logprobs` is how many alternatives are wanted, None for no log probabilities.

    `max_tokens`: of each prompt's answer; 0 where only the prompt is computed. `id_prefix` comes before the request's
    name in its answer's id; for the engine each prompt's number follows in `id_suffix`, a format.

    `keeps_ids`: the ids are wanted, not only the text. `repeats`: what the answer says of the request. `shows_cached`:
    the usage tells the cached tokens. `keeps_kv`: the KV is for another rank to decode from; `kv_key` is what it is
    called there, where the request says so. `pull`: it comes from another rank. All hold for each of the sequences, as
    in vLLM. `spare`: it is kept there for nothing, since it is computed here. `layers`: it is pushed there, or comes
    when it was called for.
    """

    prompts: tuple[Prompt, ...]
    max_tokens: tuple[int, ...]
    id_prefix: str
    id_suffix: str = ""
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
    keeps_ids: bool = False
    repeats: Mapping[str, Any] = msgspec.field(default_factory=dict)
    shows_cached: bool = False
    keeps_kv: bool = False
    kv_key: str = ""
    pull: RemoteKv | None = None
    spare: RemoteKv | None = None
    layers: LayerLeg | None = None

    @property
    def generates(self) -> bool:
        """Whether any token is to be generated."""
        return any(self.max_tokens)


def check_stream_options(data: Mapping[str, Any]) -> None:
    """Raise ApiError for options of a stream that is none."""
    if data.get("stream_options") is not None and not data.get("stream"):
        raise while_read(bad_value("Stream options can only be defined when `stream=True`.", "stream_options"))


def check_model(data: Mapping[str, Any], settings: RankSettings) -> None:
    """No model named is this one, as in vLLM."""
    name = data.get("model")
    if name and name != settings.model:
        raise unknown_model(name, settings.model)


def alternatives(data: Mapping[str, Any], param: str) -> int:
    """How many log probabilities are wanted per token; raises ApiError for more than vLLM gives by default."""
    count = whole(data.get(param), 0)
    if count < 0:
        raise while_read(bad_value(f"`{param}` must be a positive value.", param, count))
    if count > _MOST_LOGPROBS:
        text = f"Requested sample logprobs of {count}, which is greater than max allowed: {_MOST_LOGPROBS}"
        raise bad_value(text, param, count)
    return count


def sampling(data: Mapping[str, Any], limits: tuple[int, ...]) -> dict[str, Any]:
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
    min_tokens = whole(data.get("min_tokens"), 0)
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
    n = whole(data.get("n"), 1)
    if n < 1:
        raise bad_request(f"n must be at least 1, got {n}.")
    if n > _MOST_CHOICES:
        raise bad_request(f"n must be at most {_MOST_CHOICES}, got {n}.")
    if prompts * n > _MOST_CHOICES:
        raise bad_request(f"n times the number of prompts must be at most {_MOST_CHOICES}, got {prompts * n}.")
    return n


def by_settings(data: Mapping[str, Any], settings: RankSettings) -> dict[str, Any]:
    """What the server's options decide. KV is not pulled where a prompt's log probabilities are wanted, as in vLLM."""
    shown = {"shows_cached": settings.enable_prompt_tokens_details}
    if settings.pushes_layers:
        return {**shown, "layers": layer_leg(data)}
    if not settings.moves_kv:
        return shown
    if settings.is_joint:
        return {**shown, **joint_params.legs(data, settings)}
    computes = data.get("prompt_logprobs") is not None or (data.get("echo") and data.get("logprobs") is not None)
    return {**shown, "keeps_kv": wants_decode(data), "spare" if computes else "pull": remote_kv(settings, data)}


def whole(value: float | None, default: int) -> int:
    """A number that was found to be whole, or the default."""
    return default if value is None else int(value)
