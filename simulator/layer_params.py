"""`kv_transfer_params` as vllm-ascend's MooncakeLayerwiseConnector reads and writes them. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from simulator.transfer_params import block_ids_of, members, text

SUFFIX_CHARACTERS: Final = 9
"""What an engine adds to a request's id; both ranks call it by what stands before."""

_TOO_BIG: Final = 2**63


class LayerTarget(msgspec.Struct, frozen=True):
    """Where a prefill rank is to push a prompt's KV: for the child that waits, into these blocks of that engine.

    The first `cached_tokens` are there. Not `whole`: the engine dies of it.
    """

    child: str
    engine_id: str
    host: str
    port: int
    block_ids: tuple[int, ...]
    cached_tokens: int
    whole: bool = True


class LayerLeg(msgspec.Struct, frozen=True):
    """One leg: a decode leg that waits, and calls `url` for its prefill, or a prefill leg that pushes to a `target`.

    `engine_request_id` is what the engine calls the request.
    """

    engine_request_id: str = ""
    url: str | None = None
    target: LayerTarget | None = None

    @property
    def name(self) -> str:
        """What both ranks call it."""
        return self.engine_request_id[:-SUFFIX_CHARACTERS]


class PrefillCall(msgspec.Struct, frozen=True):
    """A decode engine has blocks for a request that waits for KV."""

    request_id: int
    leg: LayerLeg
    block_ids: tuple[int, ...]
    cached_tokens: int

    def params(self, engine_id: str, host: str, port: int, block_size_tokens: int) -> dict[str, Any]:
        """The body that is POSTed, key for key."""
        return {
            "token_ids": [],
            "request_id": self.leg.name,
            "do_remote_prefill": False,
            "do_remote_decode": True,
            "remote_block_ids": [list(self.block_ids)],
            "remote_block_size": [block_size_tokens],
            "remote_engine_id": engine_id,
            "remote_host": host,
            "remote_port": port,
            "remote_tp_size": 1,
            "remote_pcp_size": 1,
            "remote_dcp_size": 1,
            "remote_cached_tokens": self.cached_tokens,
        }


class LayerPush(msgspec.Struct, frozen=True):
    """A prefill engine has computed a prompt: what its blocks hold, from the first that the other engine lacks."""

    leg: LayerLeg
    target: LayerTarget
    contents: tuple[int, ...]


def layer_leg(body: Mapping[str, Any]) -> LayerLeg | None:
    """The leg that a request is, if it is one."""
    params = members(body)
    if params.get("do_remote_prefill"):
        url = params.get("metaserver")
        return LayerLeg(url=url if isinstance(url, str) else "")
    return LayerLeg(target=_target(params)) if params.get("do_remote_decode") else None


def _target(params: Mapping[str, Any]) -> LayerTarget:
    ids = block_ids_of(params.get("remote_block_ids"))
    port, cached = params.get("remote_port"), params.get("remote_cached_tokens")
    return LayerTarget(
        child=text(params.get("request_id")),
        engine_id=text(params.get("remote_engine_id")),
        host=text(params.get("remote_host")),
        port=port if type(port) is int and 0 < port < 65_536 else 0,
        block_ids=ids,
        cached_tokens=cached if type(cached) is int and 0 <= cached < _TOO_BIG else 0,
        whole="remote_cached_tokens" in params,
    )
