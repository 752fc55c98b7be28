"""Knows at a glance the next event of a stream: one that differs from an event before it in its text only. Pure.

Nearly all events of a stream are such. Whatever a look into the first one has shown is true of the next: no other field
of it, and no text, can be what is looked for. So it need not be searched for words again.
"""

from __future__ import annotations

import re
from typing import Self

from gateway.rank_http.chunks import SIZES

LINE_END = b"\r\n"
QUOTE = b'"'
TEXT = re.compile(
    rb'"(?:content|text|delta|arguments|reasoning|reasoning_content|thinking|partial_json)": ?"(?=[^"\\]*")'
)
"""The key of a text and the text's first quote, of any API: where no escape follows, the next quote is the text's last.
What is called so says nothing that is judged: no reason to stop, and no name."""


class Likeness:
    """What stands before and after the text in the payload of a chunk."""

    __slots__ = ("_after", "_before", "_text_at")

    def __init__(self, before: bytes, after: bytes) -> None:
        """`before` ends with the text's first quote; `after` begins behind its last."""
        self._before = before
        self._text_at = len(before)
        self._after = after

    @classmethod
    def of(cls, chunk: bytes) -> Self | None:
        """What the next chunks will be like, from one whole chunk of whole events; None if it has no plain text."""
        _, _, payload = chunk.partition(LINE_END)
        found = TEXT.search(payload)
        if found is None:
            return None
        _, _, after = payload[found.end() :].partition(QUOTE)
        return cls(payload[: found.end()], after)

    def fits(self, chunk: bytes) -> bool:
        """Whether these bytes are one whole regular chunk, alike but for the text. Asked of every chunk."""
        size, _, payload = chunk.partition(LINE_END)
        at = self._text_at
        _, _, after = payload[at:].partition(QUOTE)
        return (
            after == self._after
            and payload[:at] == self._before
            and size in SIZES
            and SIZES[size] == len(payload) - len(LINE_END)
        )
