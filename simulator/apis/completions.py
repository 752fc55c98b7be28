"""What a /v1/completions request asks for. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from simulator import validation
from simulator.api_errors import while_read
from simulator.generation import (
    Generation,
    alternatives,
    by_settings,
    check_model,
    check_stream_options,
    sampling,
    whole,
)
from simulator.prompt import given_prompt, no_prompt, output_limits
from simulator.settings import RankSettings

_MAX_TOKENS: Final = 16
"""Where the request sets no limit."""


def read(data: Mapping[str, Any], settings: RankSettings) -> Generation:
    """A /v1/completions body; raises ApiError."""
    validation.check(data, validation.COMPLETION)
    check_stream_options(data)
    prompt = data.get("prompt")
    if not prompt:
        raise while_read(no_prompt())
    check_model(data, settings)
    many = prompt if isinstance(prompt, list) and not isinstance(prompt[0], int) else [prompt]
    prompts = tuple(given_prompt(each) for each in many)
    wanted = whole(data.get("max_tokens"), _MAX_TOKENS)
    limits = output_limits(prompts, wanted, "max_tokens", settings)
    return Generation(
        id_prefix="cmpl-",
        id_suffix="-{}",
        prompts=prompts,
        max_tokens=limits,
        echo=bool(data.get("echo")),
        logprobs=None if data.get("logprobs") is None else alternatives(data, "logprobs"),
        **sampling(data, limits),
        **by_settings(data, settings),
    )
