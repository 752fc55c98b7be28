"""What a prefill rank of vllm-ascend's MooncakeConnectorV1 offers, looked at before a decode rank gets it. Pure.

A decode rank believes what it is handed. No blocks, a missing name or a size of nonsense end its engine or leave the
request waiting without end; blocks it has no use for are passed over, and where there are too few it goes on with
whatever is in its memory. Names and meanings as of vllm-ascend in August 2026 (kv_p2p/mooncake_connector.py); before
2026 block ids were one flat list, and there was no `remote_request_id`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from gateway.connectors.nixl_offer import (
    GROUP_BLOCK_FACTOR,
    MAX_BACKOFF_TOKENS,
    MAX_GROUPS,
    BlockId,
    Host,
    Name,
    Port,
    Ranks,
)
from gateway.connectors.offered import offered
from gateway.errors import RankFailedError

Count = Annotated[int, Meta(ge=0, lt=1 << 31)]
PortOffset = Annotated[str, Meta(pattern=r"^[0-9]{1,5}\Z")]


class Node(msgspec.Struct, frozen=True):
    """Where one worker of the prefill rank is."""

    host: Host
    engine_id: Name | None = None
    handshake_port: Port | None = None


class Offer(msgspec.Struct, frozen=True):
    """The params that a decode rank reads. Others may stand beside them: newer versions have more.

    A size of 0 is not told. The ids are one list for each group of layers, or one flat list of them all.
    """

    do_remote_prefill: bool
    remote_block_ids: Annotated[list[BlockId | list[BlockId]], Meta(min_length=1)]
    remote_engine_id: Name
    remote_host: Host
    remote_port: Port
    remote_request_id: Name | None = None
    do_remote_decode: bool = False
    do_virtual: Literal[False] = False
    remote_pcp_size: Ranks = 1
    remote_dcp_size: Ranks = 1
    remote_ptp_size: Ranks | None = None
    remote_multi_nodes_meta_mapping: dict[PortOffset, Node] = {}
    num_prompt_blocks: Count = 0
    remote_block_size: Count = 0

    @property
    def hosts(self) -> tuple[str, ...]:
        """All that the params name, first the rank's own."""
        return (self.remote_host, *(node.host for node in self.remote_multi_nodes_meta_mapping.values()))


def read(fields: dict[str, Any], *, prompt_tokens: int | None, block_size: int) -> Offer:
    """Read an offer of a prompt's KV; a `block_size` of 0 is not known. Raises RankFailedError if it would harm."""
    if not prompt_tokens:
        raise RankFailedError("The prefill rank does not say how many tokens the prompt has")
    offer = offered(fields, Offer)
    _check_blocks(offer, prompt_tokens, block_size)
    return offer


def _check_blocks(offer: Offer, prompt_tokens: int, block_size: int) -> None:
    groups = [ids for ids in offer.remote_block_ids if isinstance(ids, list)]
    if groups and (len(groups) < len(offer.remote_block_ids) or len(groups) > MAX_GROUPS):
        raise RankFailedError("The prefill rank's kv_transfer_params have block ids of no known shape")
    if groups and offer.remote_request_id is None:
        # Only versions with flat ids know the KV by the request id that both legs have.
        raise RankFailedError("The prefill rank's kv_transfer_params name no request")
    least_tokens = max(1, prompt_tokens - MAX_BACKOFF_TOKENS)
    told_tokens = offer.num_prompt_blocks * offer.remote_block_size
    # Of a sliding window there are the last blocks only.
    blocks = max(map(len, groups)) if groups else len(offer.remote_block_ids)
    # Under context parallelism that many ranks share a block's tokens; groups may compress theirs.
    shared_by = offer.remote_pcp_size * offer.remote_dcp_size * (GROUP_BLOCK_FACTOR if groups else 1)
    block_tokens = (offer.remote_block_size or block_size) * shared_by
    if not blocks or 0 < told_tokens < least_tokens or 0 < blocks * block_tokens < least_tokens:
        raise RankFailedError("The prefill rank's kv_transfer_params have too few blocks for the prompt")
