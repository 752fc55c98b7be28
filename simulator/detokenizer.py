"""Turns one answer's ids into text as they come, and finds stop strings."""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from typing import Final

from simulator.tokens import piece

_UTF8: Final = codecs.getincrementaldecoder("utf-8")


class TextStream:
    """The text of one choice.

    As in vLLM a character appears when its last byte has come, so a token may add nothing and another one several
    characters; bytes that cannot become a character turn into U+FFFD, and an unfinished character at the very end is
    never shown. Where stop strings are given, as many characters as may still become one are held back.
    """

    __slots__ = ("_decoder", "_hold", "_include_stop", "_stops", "_taken", "_text", "_untold", "stopped_by")

    def __init__(self, stops: Sequence[str] = (), *, include_stop: bool = False) -> None:
        self._decoder = _UTF8("replace")
        self._stops = stops
        self._include_stop = include_stop
        self._hold = 0 if include_stop else max((len(stop) - 1 for stop in stops), default=0)
        self._untold: list[int] = []
        self._text = ""
        self._taken = 0
        self.stopped_by: str | None = None

    def push(self, token: int, *, may_stop: bool = True) -> bool:
        """Add one id; True when the text now holds a stop string, and ends there."""
        self._untold.append(token)
        if not self._stops:
            return False
        before = len(self._text)
        self._text += self._decode()
        return may_stop and len(self._text) > before and self._stop_after(before)

    def _decode(self) -> str:
        """The text of the ids not decoded yet; without stop strings that is put off until somebody wants it."""
        data = b"".join(map(piece, self._untold))
        self._untold.clear()
        return self._decoder.decode(data)

    def _stop_after(self, before: int) -> bool:
        """Cut at the stop string that begins first among those completed by the last id."""
        found = None
        for stop in self._stops:
            at = self._text.find(stop, max(0, before - len(stop) + 1))
            if stop and at >= 0 and (found is None or at < found):
                found, self.stopped_by = at, stop
        if found is None or self.stopped_by is None:
            return False
        self._text = self._text[: found + len(self.stopped_by) * self._include_stop]
        return True

    def take(self, *, finished: bool) -> str:
        """The text that came since the last call and may be shown."""
        if not self._stops:
            return self._decode()
        end = len(self._text) if finished else max(self._taken, len(self._text) - self._hold)
        text = self._text[self._taken : end]
        self._taken = end
        return text
