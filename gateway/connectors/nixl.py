"""vLLM's NixlConnector in pull mode: the decode rank reads the blocks out of the prefill rank's memory. Pure.

Protocol and field names as of vLLM 0.32 (vllm/distributed/kv_transfer/kv_connector/v1/nixl).
"""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import urlsplit

import msgspec
from msgspec import Raw

from gateway.connectors import nixl_offer
from gateway.connectors.connector import Handover, PrefillFirst
from gateway.leg_bodies import PARAMS
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
            remote_host=offer.remote_host,
            cached_tokens=offer.remote_prefill_cached_tokens if cached_tokens is None else cached_tokens,
        )

    def decode_params(self, handover: Handover, prefill: RankCard, decode: RankCard) -> Raw:
        """The params verbatim, but for a `remote_host` that means another host to the decode rank."""
        host = _host_of(prefill)
        if not _is_local(handover.remote_host) or _is_local(host) or host == _host_of(decode):
            return handover.params
        fields = msgspec.json.decode(handover.params, type=dict[str, Raw])
        return Raw(msgspec.json.encode(fields | {"remote_host": Raw(msgspec.json.encode(host))}))

    def freeing_body(self, params: Raw, attempt_id: str) -> bytes:
        """vLLM tells the prefill rank to free its blocks when it refuses a request that offers them.

        The model is one that nobody serves; where vLLM does not look at names the temperature is refused.
        """
        refused = {"model": f"forebay-frees-{attempt_id}", "max_tokens": 1, "temperature": -1, "prompt": "-"}
        return msgspec.json.encode({**refused, PARAMS: params})


def _host_of(card: RankCard) -> str:
    try:
        return urlsplit(card.endpoint).hostname or ""
    except ValueError:
        return ""  # an address that is none; nothing will be sent there


def _is_local(host: str) -> bool:
    """Whether a name means the very host it is used on: loopback, any address, `localhost`."""
    if host.lower() == "localhost":
        return True
    try:
        address = ip_address(host.strip("[]"))
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified
