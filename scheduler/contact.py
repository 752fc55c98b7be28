"""Whether a gateway can ask the store now, told from how its exchanges went."""

from __future__ import annotations

import logging
from collections import Counter

MISSES_TO_DEGRADE = 3

log = logging.getLogger(__name__)


class Contact:
    """`degraded` is set when the store cannot be asked: before the first contact, when a connection broke, or after
    three asks in a row went unanswered for `deadline_s`; it ends with the first exchange answered within that time.

    `counters`: place_misses, store_losses (one that is repeated once), and what others count beside them.
    """

    def __init__(self, deadline_s: float) -> None:
        self.deadline_s = deadline_s
        self.degraded = True
        self.counters: Counter[str] = Counter()
        self._misses = 0
        self._complaints: set[str] = set()

    def exchanged(self, took_s: float) -> None:
        """The store answered all that it was told."""
        if took_s < self.deadline_s:
            self.degraded = False
            self._complaints.clear()

    def answered(self) -> None:
        """An ask was answered in time, or all is known to the store again."""
        self._misses = 0

    def missed(self) -> None:
        """An ask was not answered in time."""
        self.counters["place_misses"] += 1
        self._misses += 1
        if self._misses >= MISSES_TO_DEGRADE:
            self.degraded = True

    def lost(self, error: Exception) -> None:
        """An exchange failed."""
        if str(error) not in self._complaints:
            self._complaints.add(str(error))
            self.counters["store_losses"] += 1
            log.warning("placing without the shared ledger: %s", error)
        self.degraded = True
