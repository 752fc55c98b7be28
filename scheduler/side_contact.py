"""Whether a gateway asks the prefix index (or for limits), and tells it anything, from how that went lately.

Nobody waits for an index that does not answer, and nobody fills a store that has no memory left: the ledger needs what
there is. Neither makes the pool degraded.
"""

from __future__ import annotations

from scheduler.contact import MISSES_TO_DEGRADE

FULL_S = 10.0
LONGEST_FULL_S = 1_280.0


class SideContact:
    """`is_silent` from three questions in a row on that went unanswered for `deadline_s`, until an exchange takes less.

    Meanwhile one question each `probe_s` is asked that nobody waits for. All times are monotonic seconds.
    """

    def __init__(self, deadline_s: float, probe_s: float) -> None:
        self.deadline_s = deadline_s
        self.is_silent = False
        self._probe_s = probe_s
        self._misses = 0
        self._probe_at_s = 0.0
        self._full_s = 0.0
        self._full_until_s = 0.0

    def missed(self, now_s: float) -> None:
        """A question was not answered in time."""
        self._misses += 1
        if self._misses >= MISSES_TO_DEGRADE and not self.is_silent:
            self.is_silent, self._probe_at_s = True, now_s + self._probe_s

    def lost(self) -> None:
        """An exchange failed; to who takes it so, it is silent at once."""
        self.is_silent = True

    def exchanged(self, took_s: float, *, in_time: bool) -> None:
        """Questions were answered, one of them `in_time` for who asked it."""
        if in_time:
            self._misses = 0
        if took_s < self.deadline_s:
            self.is_silent = False

    def may_probe(self, now_s: float) -> bool:
        """Whether to ask a silent index again; once each `probe_s`."""
        if now_s < self._probe_at_s:
            return False
        self._probe_at_s = now_s + self._probe_s
        return True

    def was_full(self, now_s: float) -> float:
        """The store had no memory for a word: nothing is told for so many seconds, which are answered.

        What expires in that time makes room for about as much, so a store that is full again within twice of it is left
        alone for twice as long.
        """
        if self.may_tell(now_s):
            again = now_s < self._full_until_s + 2 * self._full_s
            self._full_s = min(2 * self._full_s, LONGEST_FULL_S) if again else FULL_S
        self._full_until_s = max(self._full_until_s, now_s + self._full_s)
        return self._full_s

    def may_tell(self, now_s: float) -> bool:
        """Whether there may be memory for words."""
        return now_s >= self._full_until_s
