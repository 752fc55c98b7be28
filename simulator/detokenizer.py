"""Turns one answer's ids into text as they come, and finds stop strings. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from simulator.tokens import piece

_HALF: Final = "\ufffd"
"""What vLLM takes for half a character, if a text ends in it."""
_TAIL: Final = 8
"""So many ids at the end of a prompt show whether it ends within a character."""


class TextStream:
    """The text of one choice.

    As in vLLM a token whose text ends within a character adds nothing, and the one that completes it adds both texts;
    bytes that cannot become a character turn into U+FFFD, and what never becomes whole is never shown. Behind a prompt
    that ends within a character, the whole prompt's text comes again with what completes it. Where stop strings are
    given, as many characters as may still become one are held back.
    """

    __slots__ = ("_given", "_hold", "_include_stop", "_stops", "_taken", "_text", "_untold", "stopped_by")

    def __init__(self, stops: Sequence[str] = (), *, include_stop: bool = False, prompt: Sequence[int] = ()) -> None:
        self._stops = stops
        self._include_stop = include_stop
        self._hold = 0 if include_stop else max((len(stop) - 1 for stop in stops), default=0)
        self._untold = list(prompt) if _text_of(prompt[-_TAIL:]).endswith(_HALF) else []
        self._given = len(self._untold)
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
        """The text of the ids not told yet; without stop strings that is put off until somebody wants it."""
        text = _text_of(self._untold)
        if text.endswith(_HALF):
            return self._decode_whole()
        self._untold.clear()
        self._given = 0
        return text

    def _decode_whole(self) -> str:
        """Their text up to the last of them that ends with a whole character."""
        for end in range(len(self._untold) - 1, self._given, -1):
            text = _text_of(self._untold[:end])
            if not text.endswith(_HALF):
                del self._untold[:end]
                self._given = 0
                return text
        return ""

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


def _text_of(ids: Sequence[int]) -> str:
    return b"".join(map(piece, ids)).decode(errors="replace")
