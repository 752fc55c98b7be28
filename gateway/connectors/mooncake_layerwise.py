"""vllm-ascend's MooncakeLayerwiseConnector: the decode rank calls for a prefill, which pushes its KV by layers. Pure.

The decode rank allocates the prompt's blocks and POSTs where they are to the URL that its request named. The prefill
rank is given that verbatim. Both call a request by its X-Request-Id, without the suffix that each engine adds. Protocol
and field names as of vllm-ascend 182b75ea84 (kv_p2p/mooncake_layerwise_connector.py).
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta, Raw

from gateway import bounds
from gateway.connectors.connector import Call, DecodeFirst
from gateway.connectors.kv_hosts import found_by
from gateway.errors import InvalidRequestError
from gateway.prefill_answer import MAX_PARAMS_BYTES, MAX_PARAMS_DEPTH, PARAMS_LIMITS
from gateway.wire import Api
from scheduler.messages import RankCard

MAX_GROUPS = 64
"""Groups of layers with blocks of their own; models have one to a dozen."""

Name = Annotated[str, Meta(min_length=1, max_length=256)]
BlockId = Annotated[int, Meta(ge=0, lt=1 << 31)]
Positive = Annotated[int, Meta(ge=1, lt=1 << 31)]
Count = Annotated[int, Meta(ge=0, lt=1 << 31)]
Ranks = Annotated[int, Meta(ge=1, le=4096)]
Groups = Annotated[list[list[BlockId]], Meta(min_length=1, max_length=MAX_GROUPS)]


class _Asked(msgspec.Struct, frozen=True):
    """The members that a prefill rank reads; its engine ends where one is missing. Others may stand beside them."""

    request_id: Name
    do_remote_decode: bool
    remote_block_ids: Groups
    remote_block_size: Annotated[list[Positive], Meta(min_length=1, max_length=MAX_GROUPS)]
    remote_engine_id: Name
    remote_host: Annotated[str, Meta(pattern=r"^[!-~]{1,253}\Z")]
    remote_port: Annotated[int, Meta(ge=1, le=65535)]
    remote_tp_size: Ranks
    remote_cached_tokens: Count
    remote_pcp_size: Ranks = 1
    remote_dcp_size: Ranks = 1
    do_remote_prefill: bool = False


class MooncakeLayerwise(DecodeFirst):
    """The decode rank waits for its KV without end, so it is closed where none will come.

    A response of the Responses API has another name on each rank: X-Request-Id is not looked at there.
    """

    apis = frozenset({Api.CHAT, Api.COMPLETIONS, Api.MESSAGES, Api.GENERATE})

    def decode_params(self, url: str) -> Raw:
        """What makes the rank wait for KV, and call the URL."""
        params = {"do_remote_decode": False, "do_remote_prefill": True, "metaserver": url}
        return Raw(msgspec.json.encode(params))

    def call(self, body: bytes) -> Call:
        """The call, if a prefill rank survives it. Raises InvalidRequestError."""
        if len(body) > MAX_PARAMS_BYTES or bounds.excess_of(body, PARAMS_LIMITS) is not None:
            raise InvalidRequestError("The call holds more than one has any use for")
        if bounds.depth_of(body) > MAX_PARAMS_DEPTH:
            raise InvalidRequestError("The call is nested too deeply")
        try:
            # Whole and strictly, for it becomes part of a request; msgspec does not look into what it skips.
            fields = msgspec.json.decode(body, type=dict)
            asked = msgspec.convert(fields, _Asked)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise InvalidRequestError(f"The call cannot be read: {error}") from error
        if asked.do_remote_prefill or not asked.do_remote_decode:
            raise InvalidRequestError("The call asks for no prefill")
        if "prompt_token_ids" in fields:
            # vLLM takes them for the prompt, whatever the request's own is.
            raise InvalidRequestError("The call has a prompt of its own")
        return Call(child=asked.request_id, params=Raw(body), remote_host=asked.remote_host)

    def prefill_params(self, call: Call, prefill: RankCard, decode: RankCard) -> Raw:
        """The call verbatim, but for a `remote_host` that means another host to the prefill rank."""
        return found_by(prefill, decode, call.params, (call.remote_host,))
