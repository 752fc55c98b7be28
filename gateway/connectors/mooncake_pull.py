"""vllm-ascend's MooncakeConnectorV1: the decode rank reads the blocks out of the prefill rank's memory. Pure.

Protocol and field names as of vllm-ascend in August 2026 (vllm_ascend/distributed/kv_transfer/kv_p2p).
"""

from __future__ import annotations

from msgspec import Raw

from gateway.connectors import mooncake_pull_offer
from gateway.connectors.connector import Handover, PrefillFirst
from gateway.connectors.nixl import ASKS_FOR_KV
from gateway.prefill_answer import PrefillAnswer
from scheduler.messages import RankCard


class MooncakePull(PrefillFirst):
    """The prefill rank's answer says where the blocks are, if it ended for its limit of one token and nothing else.

    It holds them for VLLM_MOONCAKE_ABORT_REQUEST_TIMEOUT, 480 s, and nothing renews that.
    """

    reach_within_s = 240.0
    """Half of the time, so that the decode rank has the other half to come to the request."""

    prefill_min_tokens = 1

    def prefill_params(self) -> Raw:
        """The same as NIXL's."""
        return ASKS_FOR_KV

    def handover(self, answer: PrefillAnswer, prefill: RankCard) -> Handover | None:
        """The params as they are, if a decode rank survives them. Raises RankFailedError."""
        if answer.params is None:
            return None
        offer = mooncake_pull_offer.read(
            answer.fields, prompt_tokens=answer.prompt_tokens, block_size=prefill.block_size
        )
        return Handover(params=answer.params, hosts=offer.hosts, cached_tokens=answer.cached_tokens)
