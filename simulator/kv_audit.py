"""Judges what other engines do with the KV that one engine keeps, in strict mode. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from simulator.held_kv import Held
from simulator.misuse import MisuseBoard


class KvAudit:
    """Remembers, by the requests' names to other engines, what became of their KV."""

    def __init__(self, board: MisuseBoard) -> None:
        self._board = board
        self._offered: set[str] = set()
        self._read: set[str] = set()
        self._freed: set[str] = set()
        self._expired: set[str] = set()
        self._strangers: set[str] = set()

    @property
    def unclaimed(self) -> int:
        """Requests whose KV somebody was told of and that is still kept."""
        return len(self._offered - self._freed - self._expired)

    def offered(self, request_id: str) -> None:
        """Somebody was told where the KV is."""
        if self._board.strict:
            self._offered.add(request_id)

    def read(self, request_id: str, block_ids: Iterable[int], held: Held | None) -> None:
        """Blocks were read in the request's name; `held` is what is kept for it."""
        if not self._board.strict:
            return
        if held is not None:
            self._read.add(request_id)
            if foreign := set(block_ids) - set(held.blocks):
                self._board.note("foreign_blocks", request_id, f"blocks {sorted(foreign)}")
        elif request_id in self._freed:
            self._board.note("reused_params", request_id)
        elif request_id in self._expired:
            self._board.note("expired_kv", request_id)
        else:
            self._unknown(request_id)

    def freed(self, request_id: str, *, held: bool) -> None:
        """The request's KV is wanted no longer. To say so twice, or after the lease, does no harm."""
        if not self._board.strict:
            return
        if held:
            self._freed.add(request_id)
        elif request_id not in self._freed | self._expired:
            self._unknown(request_id)

    def expired(self, request_id: str) -> None:
        """The request's lease ended."""
        if not self._board.strict:
            return
        self._expired.add(request_id)
        if request_id in self._offered - self._read:
            self._board.note("abandoned_kv", request_id)

    def _unknown(self, request_id: str) -> None:
        """Count once: who reads its KV frees it as well."""
        if request_id not in self._strangers:
            self._strangers.add(request_id)
            self._board.note("unknown_request", request_id)
