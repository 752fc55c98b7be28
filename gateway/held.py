"""What one request holds in its pool: one reservation at a time, given back once, however it ends."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from gateway.placing import Pool
from scheduler.decision import Decision, Place, RequestShape


class Held:
    """Use it as a context; at its end nothing is held."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._reservation: int | None = None

    def __enter__(self) -> Self:
        """Nothing is held yet."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give back what is held."""
        self.release()

    async def place(self, shape: RequestShape, *, receipt_for: str, avoid: frozenset[str]) -> Decision:
        """Place the request instead of what was held, in one step; what the decision reserves is held from now on.

        From the first line on the pool answers for what was held, also if this is cancelled.
        """
        former, self._reservation = self._reservation, None
        decision = await self._pool.place(shape, receipt_for=receipt_for, avoid=avoid, instead_of=former)
        if isinstance(decision, Place):
            self._reservation = decision.reservation
        return decision

    def release(self) -> None:
        """Give back what is held, if anything is; returns at once."""
        if self._reservation is not None:
            self._pool.release(self._reservation)
            self._reservation = None
