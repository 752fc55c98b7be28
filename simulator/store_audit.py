"""Judges the legs of ranks that share a store of KV, in strict mode."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from simulator.generation import Generation
from simulator.leg_audit import more_than_a_token
from simulator.misuse import Kind
from simulator.model import prompt_states
from simulator.settings import RankSettings
from simulator.shared_kv import SharedKv


def judged(
    body: Mapping[str, Any], generation: Generation, settings: RankSettings, shared: SharedKv, name: str
) -> Iterator[tuple[Kind, str]]:
    """What is wrong with a request that was admitted under this name, and the details.

    Both legs of a request have one name; each strict rank leaves word of its own leg for the other.
    """
    if body.get("kv_transfer_params") is not None:
        yield "given_params", ""
    if settings.role == "prefill":
        if more := more_than_a_token(body, generation):
            yield "streamed_prefill", more
        if shared.was_asked("decode", name):
            yield "late_prefill", ""
        shared.asked("prefill", name)
    if settings.role == "decode":
        if shared.was_asked("prefill", name) and (missing := _missing(generation, settings, shared)):
            yield "missing_kv", f"{missing} blocks"
        shared.asked("decode", name)


def _missing(generation: Generation, settings: RankSettings, shared: SharedKv) -> int:
    keys = [key for prompt in generation.prompts for key in prompt_states(prompt.ids, settings.block_size_tokens)[0]]
    return sum(shared.get(key) is None for key in keys)
