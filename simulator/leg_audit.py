"""Judges a prefill or decode leg by what it asks for, in strict mode. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from simulator.generation import Generation
from simulator.layer_params import LayerLeg, PrefillCall
from simulator.leg_params import offered
from simulator.misuse import Kind
from simulator.settings import RankSettings
from simulator.transfer_params import KvOffer

_OFFER: Final = KvOffer(engine_id="", request_id="", host="", port=0, block_ids=(), num_tokens=0, cached_tokens=0)
_ALWAYS_THE_SAME: Final = {"remote_blocks_expiry_time", "remote_pcp_size", "remote_dcp_size", "remote_ptp_size"}
_VARY: Final = {"last_token_id", "num_prompt_blocks"}
_PUSHES: Final = PrefillCall(0, LayerLeg(), (), 0).params("", "", 0, 0).keys()
_WAITS: Final = {"do_remote_prefill", "do_remote_decode", "metaserver"}


def judged(
    body: Mapping[str, Any], generation: Generation, settings: RankSettings, *, has_min_tokens: bool
) -> Iterator[tuple[Kind, str]]:
    """What is wrong with a request that was admitted, and the details; whether its API has `min_tokens`."""
    params = body.get("kv_transfer_params") or {}
    decodes, prefills = _kinds(params, generation, settings)
    if not (decodes or prefills):
        return
    if (decodes and settings.role == "prefill") or (prefills and settings.role == "decode"):
        yield "wrong_role", settings.role
    with_prompt = body.get("prompt_logprobs") is not None or (generation.echo and generation.logprobs is not None)
    if len(generation.prompts) * generation.n > 1 or with_prompt:
        yield "not_one_prompt", f"n={generation.n}, {len(generation.prompts)} prompts"
    if prefills and settings.connector != "sglang" and (more := more_than_a_token(body, generation)):
        yield "streamed_prefill", more
    if prefills and settings.connector == "mooncake_pull" and has_min_tokens and generation.min_tokens < 1:
        yield "no_min_tokens", ""
    if settings.pushes_layers:
        if wrong := (_WAITS if decodes else _PUSHES) ^ params.keys():
            yield "altered_params", ", ".join(map(ascii, sorted(wrong)))
    elif decodes and not settings.is_joint:
        yield from _judged_offer(params, generation, settings)


def _kinds(params: Mapping[str, Any], generation: Generation, settings: RankSettings) -> tuple[bool, bool]:
    """Whether it decodes what another rank has prefilled, and whether it prefills for another."""
    if settings.pushes_layers:
        return bool(params.get("do_remote_prefill")), bool(params.get("do_remote_decode"))
    return generation.pull is not None or generation.spare is not None, generation.keeps_kv


def _judged_offer(
    params: Mapping[str, Any], generation: Generation, settings: RankSettings
) -> Iterator[tuple[Kind, str]]:
    sample = offered(settings, _OFFER, 0)
    if changes := [name for name in {**sample, **params} if not _as_given(name, params, sample)]:
        yield "altered_params", ", ".join(map(ascii, changes))
    told, here = _prompt_size(params, len(generation.prompts[0].ids), settings)
    if told != here:
        yield "prompt_mismatch", f"{told if type(told) is int else type(told).__name__} there, {here} here"


def _prompt_size(params: Mapping[str, Any], tokens: int, settings: RankSettings) -> tuple[Any, int]:
    """The prompt's size as the params have it, and as it is here: in tokens, or in blocks."""
    if settings.connector == "mooncake_pull":
        return params.get("num_prompt_blocks"), -(-tokens // settings.block_size_tokens)
    return params.get("remote_num_tokens"), tokens


def more_than_a_token(body: Mapping[str, Any], generation: Generation) -> str:
    """What a prefill leg asks for beside one token, if anything."""
    if generation.stream or body.get("stream_options") is not None:
        return "stream"
    limits = [body.get(name) for name in ("max_tokens", "max_completion_tokens")]
    wanted = max((*generation.max_tokens, *(limit for limit in limits if limit is not None)))
    return f"{wanted} tokens" if wanted > 1 else ""


def _as_given(name: str, params: Mapping[str, Any], sample: Mapping[str, Any]) -> bool:
    """Whether a member is what a prefill rank may have written, or the prompt's ids, which anybody may add."""
    if name == "prompt_token_ids":
        return True
    if name not in sample or name not in params:
        return False
    if name in _VARY or (name.startswith("remote_") and name not in _ALWAYS_THE_SAME):
        return type(params[name]) is type(sample[name])
    return bool(params[name] == sample[name])
