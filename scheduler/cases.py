"""What one decision of a pool is made from, gathered at its instant."""

from __future__ import annotations

from random import Random

from scheduler.decision import RequestShape
from scheduler.receipt_making import Case
from scheduler.receipts import seed_for
from scheduler.reservation import Reservation
from scheduler.snapshots import Snapshots


class Cases:
    """Of the last of these snapshots; a request of which a receipt is kept gets a seed by this chance."""

    def __init__(self, snapshots: Snapshots, rng: Random) -> None:
        self._snapshots, self._rng = snapshots, rng

    def case(
        self,
        receipt_for: str,
        shape: RequestShape,
        avoid: frozenset[str],
        *,
        turn: int = 0,
        held: Reservation | None = None,
    ) -> Case:
        """See receipt_making.Case."""
        view, pool_ms, seed = self._snapshots.view, self._snapshots.pool_ms, seed_for(receipt_for, self._rng)
        return Case(receipt_for, seed, shape, view, pool_ms, turn, avoid, held)
