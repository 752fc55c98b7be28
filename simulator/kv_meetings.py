"""Where legs that come at once meet on the prefill side: claims, and the KV they are for, whichever is there first."""

from __future__ import annotations

from collections.abc import Callable

from simulator.side_channel import OnClaimed
from simulator.side_channel_frames import Claim


class KvMeetings:
    """By the names of transfers. A claim waits until the KV is kept; of a prefill that gives up it waits for ever."""

    def __init__(self) -> None:
        self._kept: set[str] = set()
        self._claims: dict[str, OnClaimed] = {}
        self._unwanted: set[str] = set()
        self._on_claim: dict[str, Callable[[], None]] = {}
        self._claimed: set[str] = set()

    def claim(self, claim: Claim, answer: OnClaimed) -> bool:
        """Take a claim; True if its KV is there already, else `answer` is called for when it is."""
        self._claimed.add(claim.key)
        if (begin := self._on_claim.pop(claim.key, None)) is not None:
            begin()
        if claim.key in self._kept:
            return True
        self._claims[claim.key] = answer
        return False

    def kept(self, key: str) -> OnClaimed | None:
        """The KV of that name is here; whom to give it to, if anybody has claimed it."""
        self._kept.add(key)
        return self._claims.pop(key, None)

    def is_unwanted(self, key: str) -> bool:
        """Whether it was said that nobody will come for what is not here yet; asked once."""
        wanted = key not in self._unwanted
        self._unwanted.discard(key)
        return not wanted

    def gone(self, key: str) -> None:
        """The KV is not kept any more."""
        self._kept.discard(key)

    def refuse(self, key: str) -> None:
        """Nobody will come for what is not here yet."""
        self._claims.pop(key, None)
        self._unwanted.add(key)

    def when_claimed(self, key: str, begin: Callable[[], None]) -> None:
        """Call once somebody has claimed the KV of that name."""
        if key in self._claimed:
            begin()
        else:
            self._on_claim[key] = begin

    def forget(self, key: str) -> bool:
        """Call nobody for a claim any more; False where somebody was called."""
        return self._on_claim.pop(key, None) is not None
