"""Whether a prefill rank's KV can be used by a decode rank: the matrix, cell by cell. Pure.

Facts of vLLM 0.32: NIXL refuses peers of another version, block geometry or cache type (its compatibility hash);
vllm-ascend gives wrong answers where block sizes differ (vllm-ascend issue 14545).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from forebay.preflight.finding import Finding, Level
from forebay.preflight.rank_facts import KvOffer, RankFacts
from forebay.preflight.report import Cell
from scheduler.endpoints import is_local
from scheduler.messages import Role


def matrix_of(ranks: Sequence[RankFacts], here: Collection[str]) -> tuple[Cell, ...]:
    """A cell for each prefill and decode rank of one pool; `here` are the addresses of this node."""
    prefills = [rank for rank in ranks if rank.role is Role.PREFILL]
    decodes = [rank for rank in ranks if rank.role is Role.DECODE]
    return tuple(
        Cell(prefill.name, decode.name, tuple(pair_findings(prefill, decode, here)), prefill.pool)
        for prefill in prefills
        for decode in decodes
        if prefill.pool == decode.pool
    )


def pair_findings(prefill: RankFacts, decode: RankFacts, here: Collection[str]) -> list[Finding]:
    """All that is wrong between two ranks; `here` are the addresses of this node. Empty: nothing.

    Whether the decode rank reaches the prefill rank's side channel is seen on the decode rank's node only.
    """
    where = f"{prefill.name} -> {decode.name}"
    if prefill.fault or decode.fault:
        return [Finding(Level.UNSEEN, where, "one of the two does not answer")]
    differing = [
        _no_common_model(where, prefill.models, decode.models),
        _differ(where, "connector", prefill.connector, decode.connector, "--connector of one of their agents"),
        _differ(where, "version", prefill.version, decode.version, "the installed vLLM, the same on both nodes"),
        _differ(where, "KV block size", prefill.block_size, decode.block_size, "--block-size"),
        _differ(where, "KV cache type", prefill.cache_dtype, decode.cache_dtype, "--kv-cache-dtype"),
    ]
    found = [each for each in differing if each is not None]
    if decode.max_model_len < prefill.max_model_len:
        told = f"the decode rank takes {decode.max_model_len} tokens, the prefill rank {prefill.max_model_len}"
        found.append(Finding(Level.WARN, where, told, "--max-model-len"))
    if prefill.offer is not None:
        found += _side_channel(where, prefill.offer, prefill, decode, here)
    return found


def _no_common_model(where: str, prefill: Collection[str], decode: Collection[str]) -> Finding | None:
    """Other names and adapters may differ."""
    if set(prefill) & set(decode):
        return None
    return _differ(where, "model", ", ".join(prefill), ", ".join(decode), "--served-model-name")


def _differ(where: str, what: str, prefill: object, decode: object, change: str) -> Finding | None:
    if prefill == decode or not (prefill and decode):
        return None
    return Finding(Level.BAD, where, f"{what} differs: {prefill} and {decode}", change)


def _side_channel(
    where: str, offer: KvOffer, prefill: RankFacts, decode: RankFacts, here: Collection[str]
) -> list[Finding]:
    apart = prefill.target.host != decode.target.host
    if apart and is_local(offer.host):
        told = (
            f"KV is offered at {offer.host}, which is another host to the decode rank; gateways put in the rank's own"
        )
        change = f"VLLM_NIXL_SIDE_CHANNEL_HOST={prefill.target.host} of the prefill rank"
        return [Finding(Level.WARN, where, told, change)]
    if decode.target.host not in here:
        told = f"whether {offer.host} port {offer.port} is reached is seen on the decode rank's node only"
        return [Finding(Level.UNSEEN, where, told, f"run forebay preflight on {decode.target.host}")]
    if offer.reachable is False:
        told = f"the side channel {offer.host} port {offer.port} takes no connection from here"
        change = (
            "VLLM_NIXL_SIDE_CHANNEL_HOST, VLLM_NIXL_SIDE_CHANNEL_PORT, VLLM_MOONCAKE_BOOTSTRAP_PORT or kv_port; "
            "or the firewall between the two"
        )
        return [Finding(Level.BAD, where, told, change)]
    return []
