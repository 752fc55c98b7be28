"""Judges a prefill or decode leg by what it asks for, in strict mode. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from simulator.generation import Generation
from simulator.misuse import Kind
from simulator.settings import RankSettings
from simulator.transfer_params import KvOffer

_SAMPLE: Final = KvOffer(
    engine_id="", request_id="", host="", port=0, block_ids=(), num_tokens=0, cached_tokens=0
).params()  # fmt: skip
_VARY: Final = {name for name in _SAMPLE if name.startswith("remote_")} - {"remote_blocks_expiry_time"}


def judged(body: Mapping[str, Any], generation: Generation, settings: RankSettings) -> Iterator[tuple[Kind, str]]:
    """What is wrong with a request that was admitted, and the details."""
    params = body.get("kv_transfer_params") or {}
    decodes, prefills = bool(params.get("do_remote_prefill")), bool(params.get("do_remote_decode"))
    if not (decodes or prefills) or not settings.moves_kv:
        return
    if (decodes and settings.role == "prefill") or (prefills and settings.role == "decode"):
        yield "wrong_role", settings.role
    with_prompt = body.get("prompt_logprobs") is not None or (generation.echo and generation.logprobs is not None)
    if len(generation.prompts) * generation.n > 1 or with_prompt:
        yield "not_one_prompt", f"n={generation.n}, {len(generation.prompts)} prompts"
    if prefills and (more := _more_than_a_token(body, generation)):
        yield "streamed_prefill", more
    if decodes:
        if changes := [name for name in {**_SAMPLE, **params} if not _as_given(name, params)]:
            yield "altered_params", ", ".join(map(ascii, changes))
        told, here = params.get("remote_num_tokens"), len(generation.prompts[0].ids)
        if told != here:
            yield "prompt_mismatch", f"{told if type(told) is int else type(told).__name__} there, {here} tokens here"


def _more_than_a_token(body: Mapping[str, Any], generation: Generation) -> str:
    if generation.stream or body.get("stream_options") is not None:
        return "stream"
    limits = [body.get(name) for name in ("max_tokens", "max_completion_tokens")]
    wanted = max((*generation.max_tokens, *(limit for limit in limits if limit is not None)))
    return f"{wanted} tokens" if wanted > 1 else ""


def _as_given(name: str, params: Mapping[str, Any]) -> bool:
    """Whether a member is what a prefill rank may have written, or the prompt's ids, which anybody may add."""
    if name == "prompt_token_ids":
        return True
    if name not in _SAMPLE or name not in params:
        return False
    if name in _VARY:
        return type(params[name]) is type(_SAMPLE[name])
    return bool(params[name] == _SAMPLE[name])
