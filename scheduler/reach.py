"""Whether a gateway can ask the shared ledger of a pool now."""

from __future__ import annotations

from scheduler.ledger import Ledger
from scheduler.snapshots import Snapshots


class Reach:
    """Tells it from how the conversation with the store goes, and from what was last read of the pool."""

    def __init__(self, ledger: Ledger, snapshots: Snapshots) -> None:
        self._ledger, self._snapshots = ledger, snapshots

    @property
    def is_cut_off(self) -> bool:
        """Whether the shared ledger cannot be asked: it is lost or slow, or is being rebuilt.

        It is asked by an old snapshot, too: it knows the loads and the ranks that are up, and the snapshot only names
        candidates. On Mooncake at load 0.7 one of up to 30 s is as good as a new one, and without the ledger a request
        waits three times as long (benchmarks/degradation.py).
        """
        if self._ledger.names.epoch != self._snapshots.view.epoch:
            self._snapshots.hurry()  # the store began anew: which ranks it knows shows in the next snapshot
            return True
        return self._ledger.degraded or self._snapshots.rebuilding
