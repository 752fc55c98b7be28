"""What a request says of its legs where both come at once: NIXL push, Mooncake, SGLang. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from simulator.api_errors import bad_request
from simulator.settings import RankSettings
from simulator.transfer_params import RemoteKv, members, text

_ROOM_BITS: Final = 63
NEEDED: Final[Mapping[str, tuple[str, ...]]] = {
    "nixl_push": ("remote_engine_id", "remote_host", "remote_port", "tp_size"),
    "mooncake": ("remote_engine_id", "remote_bootstrap_addr", "transfer_id"),
}
"""What a decode leg must say: without it a rank waits for KV that it does not ask for."""


def legs(body: Mapping[str, Any], settings: RankSettings) -> dict[str, Any]:
    """`keeps_kv`, `kv_key` and `pull` of a Generation; raises ApiError."""
    if settings.connector == "sglang":
        return _meeting(body, settings)
    params = members(body)
    transfer_id = params.get("transfer_id")
    key = transfer_id if settings.connector == "mooncake" and isinstance(transfer_id, str) else ""
    if params.get("do_remote_prefill"):
        return {"pull": _remote(params, key, settings)}
    # Mooncake keeps nothing for a transfer without a name.
    keeps = bool(params.get("do_remote_decode")) and (bool(key) or settings.connector != "mooncake")
    return {"keeps_kv": keeps, "kv_key": key}


def room_of(body: Mapping[str, Any]) -> int | None:
    """SGLang's room; None for what is none."""
    room = body.get("bootstrap_room")
    return room if type(room) is int and 0 <= room < 1 << _ROOM_BITS else None


def _remote(params: Mapping[str, Any], key: str, settings: RankSettings) -> RemoteKv:
    return RemoteKv(
        engine_id=text(params.get("remote_engine_id")),
        request_id=key,
        host=text(params.get("remote_host")),
        port=params.get("remote_port"),
        block_ids=(),
        complete=all(params.get(name) for name in NEEDED[settings.connector]),
        joint=True,
        bootstrap_url=text(params.get("remote_bootstrap_addr")),
    )


def _meeting(body: Mapping[str, Any], settings: RankSettings) -> dict[str, Any]:
    room = room_of(body)
    if settings.role == "mixed":
        return {}
    if room is None:
        raise bad_request("Disaggregated request received without bootstrap room id")
    if settings.role == "prefill":
        return {"keeps_kv": True, "kv_key": str(room)}
    host, port = text(body.get("bootstrap_host")), body.get("bootstrap_port")
    return {
        "pull": RemoteKv(
            engine_id="", request_id=str(room), host=host, port=port, block_ids=(), complete=bool(host), joint=True
        )
    }
