"""Judges the legs that come at once by what they ask for, in strict mode. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from simulator.joint_params import NEEDED, room_of
from simulator.misuse import Kind
from simulator.settings import RankSettings
from simulator.transfer_params import members

_PREFILL: Final = {"do_remote_decode", "do_remote_prefill", "transfer_id"}
_NULLS: Final = {"remote_engine_id", "remote_block_ids", "remote_host", "remote_port"}
_DECODE: Final[Mapping[str, set[str]]] = {
    "nixl_push": {"do_remote_decode", *NEEDED["nixl_push"], "do_remote_prefill", "pp_size", "remote_request_id"},
    "mooncake": {"do_remote_decode", *NEEDED["mooncake"], "do_remote_prefill"},
}


class JointAudit:
    """Remembers the names of transfers: each is for one leg of this rank."""

    def __init__(self, settings: RankSettings) -> None:
        self._settings = settings
        self._seen: set[str] = set()

    def judged(self, body: Mapping[str, Any], name: str) -> Iterator[tuple[Kind, str]]:
        """What is wrong with a request of this X-Request-Id, and the details."""
        if self._settings.connector == "sglang":
            yield from self._meeting(body)
            return
        params = members(body)
        decodes, prefills = bool(params.get("do_remote_prefill")), bool(params.get("do_remote_decode"))
        if not (decodes or prefills):
            return
        if params.get("remote_block_ids"):
            yield "blocks_in_push", f"{params['remote_block_ids']}"
        yield from self._named(params.get("transfer_id"))
        allowed = _DECODE[self._settings.connector] | {"transfer_id"} if decodes else _PREFILL | _NULLS
        lacking = [key for key in NEEDED[self._settings.connector] if decodes and not params.get(key)]
        if changes := sorted({*lacking, *(params.keys() - allowed)}):
            yield "altered_params", ", ".join(map(ascii, changes))
        told = params.get("remote_request_id")
        if decodes and self._settings.connector == "nixl_push" and told != name:
            yield "mismatched_ids", f"{told!r} there, {name!r} here"

    def _meeting(self, body: Mapping[str, Any]) -> Iterator[tuple[Kind, str]]:
        if body.get("kv_transfer_params") is not None:
            yield "altered_params", "kv_transfer_params"
        room = room_of(body)
        if room is None:
            yield "wrong_room", repr(body.get("bootstrap_room"))
        else:
            yield from self._named(str(room))

    def _named(self, transfer_id: Any) -> Iterator[tuple[Kind, str]]:
        if not (isinstance(transfer_id, str) and transfer_id):
            yield "missing_transfer_id", repr(transfer_id)
        elif transfer_id in self._seen:
            yield "reused_transfer_id", transfer_id
        else:
            self._seen.add(transfer_id)
