"""What a prefill rank's connector must be known by before its first request, from what the rank answers. Pure.

vLLM publishes none of it: a rank of NIXL's push says it in the answer to a prefill leg, one of Mooncake at its
bootstrap server.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from agent.errors import DiscoveryError
from scheduler.endpoints import is_local
from scheduler.messages import KvAddress

Port = Annotated[int, msgspec.Meta(ge=1, le=65535)]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=200, pattern=r"^[!-~]+\Z")]
Ranks = Annotated[int, msgspec.Meta(ge=1, le=4096)]


class _Params(msgspec.Struct, frozen=True):
    remote_engine_id: Name
    remote_host: Name
    remote_port: Port
    tp_size: Ranks = 1
    pp_size: Ranks = 1
    transfer_mode: str = "push"


class _Answer(msgspec.Struct, frozen=True):
    kv_transfer_params: _Params | None = None


class _Entry(msgspec.Struct, frozen=True):
    engine_id: Name
    worker_addr: dict[str, dict[str, str]]


_ANSWER_DECODER = msgspec.json.Decoder(_Answer)
_ENTRIES_DECODER = msgspec.json.Decoder(dict[str, _Entry])


def of_push(body: bytes, rank_host: str) -> KvAddress:
    """From an answer to a prefill leg. A host that means the rank's own is `rank_host`. Raises DiscoveryError."""
    try:
        params = _ANSWER_DECODER.decode(body).kv_transfer_params
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DiscoveryError(f"its kv_transfer_params are not those of NixlPushConnector: {error}") from error
    if params is None:
        raise DiscoveryError("its answer has no kv_transfer_params; it wants NixlPushConnector in --kv-transfer-config")
    if params.transfer_mode != "push":
        raise DiscoveryError(f"it speaks NIXL in mode {params.transfer_mode[:20]}; give --connector nixl")
    return KvAddress(
        engine_id=params.remote_engine_id,
        host=rank_host if is_local(params.remote_host) else params.remote_host,
        port=params.remote_port,
        tp_size=params.tp_size,
        pp_size=params.pp_size,
    )


def of_mooncake(body: bytes, url: str, index: int) -> KvAddress:
    """From what the bootstrap server at this URL knows of the engine with this index. Raises DiscoveryError."""
    try:
        entries = _ENTRIES_DECODER.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DiscoveryError(f"the bootstrap server {url} is not Mooncake's: {error}") from error
    entry = entries.get(str(index))
    if entry is None or not entry.worker_addr:
        known = ", ".join(sorted(entries)) or "none"
        raise DiscoveryError(f"the bootstrap server {url} does not know engine {index}, but {known[:200]}")
    workers = entry.worker_addr
    return KvAddress(
        engine_id=entry.engine_id,
        bootstrap_url=url,
        tp_size=len(workers),
        pp_size=max(map(len, workers.values()), default=0) or 1,
    )
