"""Look-ups that were asked for before their request is placed, while something else was asked too.

Each is of use once, and for a moment: what a prompt that is refused meanwhile asked for is nobody's.
"""

from __future__ import annotations

from asyncio import Future
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

Replies = Future[Sequence[bytes]]


class _Early(NamedTuple):
    key: str
    replies: Replies
    asked_s: float


class Foreseen:
    """The latest look-ups, by the key of the prompt's last block; of use for `fresh_s`."""

    def __init__(self, fresh_s: float) -> None:
        self._fresh_s = fresh_s
        self._latest: deque[_Early] = deque()
        self._by_key: dict[str, list[Replies]] = {}

    def keep(self, key: str, replies: Replies, now_s: float) -> None:
        """A look-up was asked for."""
        self._forget(now_s)
        self._latest.append(_Early(key, replies, now_s))
        self._by_key.setdefault(key, []).append(replies)

    def take(self, key: str, now_s: float) -> Replies | None:
        """A look-up of this prompt that nobody else takes, if one was asked for a moment ago."""
        self._forget(now_s)
        kept = self._by_key.get(key)
        return kept.pop() if kept else None

    def _forget(self, now_s: float) -> None:
        while self._latest and now_s - self._latest[0].asked_s > self._fresh_s:
            key, replies, _ = self._latest.popleft()
            kept = self._by_key.get(key, [])
            if replies in kept:
                kept.remove(replies)
            if not kept:
                self._by_key.pop(key, None)
