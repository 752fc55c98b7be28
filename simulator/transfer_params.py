"""`kv_transfer_params` as vLLM's NIXL connector reads and writes them. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

_TOO_BIG: Final = 2**63
"""For a block id, which goes into a frame, and for a count."""


class RemoteKv(msgspec.Struct, frozen=True):
    """Where the KV of a prompt is to be pulled from.

    No block ids: the engine dies of it when it gets to the request. Not `complete`: nothing is pulled, and the request
    waits for its KV until its client leaves. Not `whole`: the engine dies where it is to free the KV unread. `port` may
    be anything, since it is looked at only for an engine that is new to this one. `cached_tokens` of the prompt were in
    the other rank's prefix cache, if it said so. `joint`: of a connector whose legs come at once (joint_params.py).
    """

    engine_id: str
    request_id: str
    host: str
    port: Any
    block_ids: tuple[int, ...]
    complete: bool = True
    whole: bool = True
    cached_tokens: int | None = None
    joint: bool = False
    bootstrap_url: str = ""


class KvOffer(msgspec.Struct, frozen=True, kw_only=True):
    """What a prefill rank tells of the KV it keeps; `num_tokens` are those computed, `cached_tokens` of them known."""

    engine_id: str
    request_id: str
    host: str
    port: int
    block_ids: tuple[int, ...]
    num_tokens: int
    cached_tokens: int

    def params(self) -> dict[str, Any]:
        """The object in the answer, key for key."""
        return {
            "do_remote_prefill": True,
            "do_remote_decode": False,
            "remote_block_ids": [list(self.block_ids)],
            "remote_engine_id": self.engine_id,
            "remote_request_id": self.request_id,
            "remote_host": self.host,
            "remote_port": self.port,
            "tp_size": 1,
            "dcp_size": 1,
            "pp_size": 1,
            "remote_num_tokens": self.num_tokens,
            "remote_blocks_expiry_time": None,
            "transfer_mode": "pull",
            "remote_prefill_cached_tokens": self.cached_tokens,
        }


def wants_decode(body: Mapping[str, Any]) -> bool:
    """Whether the request's KV is to be kept for another rank."""
    return bool(members(body).get("do_remote_decode"))


def remote_kv(body: Mapping[str, Any]) -> RemoteKv | None:
    """The KV the request names, if any."""
    params = members(body)
    if not params.get("do_remote_prefill"):
        return None
    complete = all(f"remote_{name}" in params for name in ("engine_id", "request_id", "host", "port"))
    cached = params.get("remote_prefill_cached_tokens")
    return RemoteKv(
        engine_id=text(params.get("remote_engine_id")),
        request_id=text(params.get("remote_request_id")),
        host=text(params.get("remote_host")),
        port=params.get("remote_port"),
        block_ids=block_ids_of(params.get("remote_block_ids")),
        complete=complete,
        whole=complete and "remote_block_ids" in params,
        cached_tokens=cached if isinstance(cached, int) and abs(cached) < _TOO_BIG else None,
    )


def forwarded_ids(body: Mapping[str, Any]) -> Any:
    """What the params give as the prompt's ids, None where they do not."""
    return members(body).get("prompt_token_ids")


def members(body: Mapping[str, Any]) -> Mapping[str, Any]:
    """The members of a request's params; none where it has no object of them."""
    params = body.get("kv_transfer_params")
    return params if isinstance(params, dict) else {}


def block_ids_of(groups: Any) -> tuple[int, ...]:
    """The ids of the one group of blocks there is; none where they are of another shape."""
    if not isinstance(groups, list) or len(groups) != 1 or not isinstance(groups[0], Sequence):
        return ()
    return tuple(groups[0]) if all(type(block) is int and abs(block) < _TOO_BIG for block in groups[0]) else ()


def text(value: Any) -> str:
    """A text that can be sent on: lone surrogates are spelt out, and what is no text is empty."""
    return value.encode(errors="backslashreplace").decode() if isinstance(value, str) else ""
