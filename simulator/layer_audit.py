"""Judges how a decode rank's call is treated and what becomes of the KV it waits for, in strict mode. Pure."""

from __future__ import annotations

from typing import Final

from simulator.layer_params import LayerLeg, LayerTarget
from simulator.misuse import MisuseBoard

SLOW_CALL_S: Final = 5.0
"""A metaserver that answers at once answers sooner on any machine; one that waits for prefills may not."""


class LayerAudit:
    """Remembers, by the requests' names to both ranks, who was asked for and who has come."""

    def __init__(self, board: MisuseBoard) -> None:
        self._board = board
        self._asked: set[str] = set()
        self._awaited: set[str] = set()
        self._sent: set[str] = set()
        self._failed: set[str] = set()

    def asked(self, leg: LayerLeg, target: LayerTarget) -> None:
        """Prefill side: a leg has come that is for this child."""
        if not self._board.strict:
            return
        if leg.name != target.child:
            self._board.note("other_request_id", leg.name, f"the decode rank calls it {target.child}")
        if target.child in self._asked:
            self._board.note("asked_twice", target.child)
        self._asked.add(target.child)

    def called(self, name: str) -> None:
        """Decode side: the metaserver is called."""
        if self._board.strict:
            self._awaited.add(name)

    def answered(self, name: str, took_s: float) -> None:
        """Decode side: it has answered."""
        if took_s > SLOW_CALL_S:
            self._board.note("slow_metaserver", name, f"{took_s:.1f} s")

    def sent(self, name: str) -> None:
        """Decode side: the KV is here."""
        if not self._board.strict:
            return
        if name in self._sent:
            self._board.note("asked_twice", name)
        elif name not in self._awaited:
            self._board.note("unknown_request", name)
        self._awaited.discard(name)
        self._sent.add(name)

    def failed(self, name: str) -> None:
        """Decode side: the prefill rank has refused, which only a strict one tells."""
        self._failed.add(name)

    def waited(self, name: str, *, is_open: bool) -> None:
        """Decode side: it is long since the call; the request `is_open` if its client still waits."""
        if name in self._failed:
            if is_open:
                self._board.note("left_waiting", name)
        elif name in self._awaited:
            self._board.note("never_asked", name)
        self._failed.discard(name)
        self._awaited.discard(name)
