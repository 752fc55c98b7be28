"""vLLM's NixlConnector in pull mode: the decode rank reads the blocks out of the prefill rank's memory. Pure.

Protocol and field names as of vLLM 0.32 (vllm/distributed/kv_transfer/kv_connector/v1/nixl).
"""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address
from types import MappingProxyType
from typing import Annotated
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta, Raw

from gateway.connectors.connector import Handover
from gateway.errors import RankFailedError
from gateway.leg_bodies import PARAMS
from gateway.prefill_answer import PrefillAnswer
from gateway.wire import Api
from scheduler.messages import RankCard

ASKS_FOR_KV = Raw(
    b'{"do_remote_decode":true,"do_remote_prefill":false,"remote_engine_id":null,"remote_block_ids":null,'
    b'"remote_host":null,"remote_port":null}'
)

Name = Annotated[str, Meta(min_length=1)]
BlockId = Annotated[int, Meta(ge=0)]


class _Offer(msgspec.Struct):
    """The params a decode rank reads. It dies of block ids that are missing or too few, and waits for ever for KV
    whose owner has no name.
    """

    do_remote_prefill: bool
    remote_block_ids: Annotated[list[Annotated[list[BlockId], Meta(min_length=1)]], Meta(min_length=1)]
    remote_engine_id: Name
    remote_request_id: Name
    remote_host: Name
    remote_port: Annotated[int, Meta(ge=1, le=65535)]
    dcp_size: Annotated[int, Meta(ge=1)] = 1
    remote_prefill_cached_tokens: Annotated[int, Meta(ge=0)] | None = None


FREEING_FIELDS: Mapping[Api, Mapping[str, object]] = MappingProxyType(
    {Api.CHAT: {"messages": [{"role": "user", "content": "-"}]}, Api.COMPLETIONS: {"prompt": "-"}}
)


class Nixl:
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
        try:
            offer = msgspec.convert(answer.fields, _Offer)
        except msgspec.ValidationError as error:
            raise RankFailedError(f"The prefill rank's kv_transfer_params are malformed: {error}") from error
        if not offer.do_remote_prefill:
            raise RankFailedError("The prefill rank's kv_transfer_params offer no prefill")
        if len(offer.remote_block_ids) == 1 and prefill.block_size > 0:
            # Decode context parallelism deals a block's tokens out to that many ranks.
            needed = -(-(answer.prompt_tokens or 0) // (prefill.block_size * offer.dcp_size))
            if len(offer.remote_block_ids[0]) < needed:
                raise RankFailedError("The prefill rank's kv_transfer_params have too few blocks for the prompt")
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

    def freeing_body(self, api: Api, params: Raw, attempt_id: str) -> bytes:
        """vLLM tells the prefill rank to free its blocks when it refuses a request that offers them.

        The model is one that nobody serves; where vLLM does not look at names the temperature is refused.
        """
        refused = {"model": f"forebay-frees-{attempt_id}", "max_tokens": 1, "temperature": -1}
        return msgspec.json.encode({**refused, **FREEING_FIELDS[api], PARAMS: params})


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
