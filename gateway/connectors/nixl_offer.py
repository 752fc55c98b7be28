"""What a NIXL prefill rank offers, looked at before a decode rank gets it. Pure.

A decode rank believes what it is handed: too few blocks, an id that is no block's, or a size of nonsense end its
engine, and KV whose owner has no name is waited for without end. Names and meanings as of vLLM 0.32.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from gateway.connectors.offered import offered
from gateway.errors import RankFailedError
from gateway.usage import Tokens

MAX_GROUPS = 64
"""Groups of layers with blocks of their own; models have one to a dozen."""

GROUP_BLOCK_FACTOR = 64
"""A rank shows the smallest block size of its groups (vllm/v1/engine/core.py). A group that compresses its tokens has
larger ones; more than this many times larger are in no model's use.
"""

MAX_BACKOFF_TOKENS = 16
"""A prefill rank may leave out the prompt's last tokens, which the decode rank then computes: one where layers keep a
state (Mamba), a few under multi-token prediction (`_prefill_backoff`).
"""

Name = Annotated[str, Meta(min_length=1)]
BlockId = Annotated[int, Meta(ge=0, lt=1 << 31)]
Blocks = Annotated[list[BlockId], Meta(min_length=1)]
Ranks = Annotated[int, Meta(ge=1, le=4096)]
Positive = Annotated[int, Meta(ge=1, lt=1 << 31)]
Host = Annotated[str, Meta(pattern=r"^[!-~]{1,253}\Z")]
Port = Annotated[int, Meta(ge=1, le=65535)]


class Offer(msgspec.Struct, frozen=True):
    """The params that a decode rank reads. Others may stand beside them: newer versions have more."""

    do_remote_prefill: bool
    remote_block_ids: Annotated[list[Blocks], Meta(min_length=1, max_length=MAX_GROUPS)]
    remote_engine_id: Name
    remote_request_id: Name
    remote_host: Host
    remote_port: Port
    tp_size: Ranks
    pp_size: Ranks = 1
    dcp_size: Ranks = 1
    do_remote_decode: bool = False
    transfer_mode: Literal["pull"] = "pull"
    remote_num_tokens: Positive | None = None
    remote_block_size: Positive | list[Positive] | None = None
    remote_blocks_expiry_time: float | None = None
    remote_prefill_cached_tokens: Tokens | None = None


def read(fields: dict[str, Any], *, prompt_tokens: int | None, block_size: int) -> Offer:
    """Read an offer of a prompt's KV; a `block_size` of 0 is not known. Raises RankFailedError if it would harm."""
    if not prompt_tokens:
        raise RankFailedError("The prefill rank does not say how many tokens the prompt has")
    offer = offered(fields, Offer)
    if block_size > 0 and _blocks(offer) < _needed_blocks(offer, prompt_tokens, block_size):
        raise RankFailedError("The prefill rank's kv_transfer_params have too few blocks for the prompt")
    return offer


def _blocks(offer: Offer) -> int:
    """How many blocks the longest group has: of a sliding window there are only the last ones."""
    return max(map(len, offer.remote_block_ids))


def _needed_blocks(offer: Offer, prompt_tokens: int, block_size: int) -> int:
    computed = prompt_tokens if offer.remote_num_tokens is None else min(offer.remote_num_tokens, prompt_tokens)
    tokens = max(computed, prompt_tokens - MAX_BACKOFF_TOKENS)
    factor = GROUP_BLOCK_FACTOR if len(offer.remote_block_ids) > 1 else 1
    # Decode context parallelism deals a block's tokens out to that many ranks.
    return -(-tokens // (block_size * offer.dcp_size * factor))
