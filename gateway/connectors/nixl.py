"""vLLM's NixlConnector in pull mode: the decode rank reads the blocks out of the prefill rank's memory. Pure.

Protocol and field names as of vLLM 0.32 (vllm/distributed/kv_transfer/kv_connector/v1/nixl).
"""

from __future__ import annotations

from msgspec import Raw

from gateway.connectors import nixl_offer
from gateway.connectors.connector import Handover, PrefillFirst
from gateway.prefill_answer import PrefillAnswer
from scheduler.messages import RankCard

ASKS_FOR_KV = Raw(
    b'{"do_remote_decode":true,"do_remote_prefill":false,"remote_engine_id":null,"remote_block_ids":null,'
    b'"remote_host":null,"remote_port":null}'
)


class Nixl(PrefillFirst):
    """The prefill rank's answer says where the blocks are; it holds them under a lease of 30 s from then on.

    The decode rank renews the lease once it has the request.
    """

    reach_within_s = 20.0

    def prefill_params(self) -> Raw:
        """An object of nulls: it makes the rank keep the blocks and say where they are."""
        return ASKS_FOR_KV

    def handover(self, answer: PrefillAnswer, prefill: RankCard) -> Handover | None:
        """The params as they are, if a decode rank survives them. Raises RankFailedError."""
        if answer.params is None:
            return None
        offer = nixl_offer.read(answer.fields, prompt_tokens=answer.prompt_tokens, block_size=prefill.block_size)
        cached_tokens = answer.cached_tokens
        return Handover(
            params=answer.params,
            hosts=(offer.remote_host,),
            cached_tokens=offer.remote_prefill_cached_tokens if cached_tokens is None else cached_tokens,
        )
