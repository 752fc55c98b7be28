"""What the gateway needs of the scheduler's pools; `scheduler.pools.Pools` fits it, and so does a test's stand-in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from scheduler.decision import Decision, Leg, RequestShape
from scheduler.homes import Home
from scheduler.messages import Phase, RankCard, RankState
from scheduler.named_rank import Fault
from scheduler.prefix_calibration import CacheBelief


class RankView(Protocol):
    """One rank as a pool's snapshot shows it."""

    @property
    def card(self) -> RankCard:
        """What stays true of the rank."""

    @property
    def state(self) -> RankState:
        """What its agent last said of its health."""

    @property
    def prefix_belief(self) -> CacheBelief | None:
        """What is believed of its prefix cache, and what it found; None where its agent does not say."""


class PoolView(Protocol):
    """A frozen snapshot of a pool."""

    @property
    def ranks(self) -> Mapping[str, RankView]:
        """The ranks by name."""


class Pool(Protocol):
    """The ranks that serve one model."""

    @property
    def name(self) -> str:
        """The model's name."""

    @property
    def view(self) -> PoolView:
        """The latest snapshot."""

    @property
    def snapshot_age_s(self) -> float:
        """How long ago it was read."""

    @property
    def left_out(self) -> frozenset[str]:
        """The ranks that are left out now: by their breakers, or since they took no connection."""

    def fault_of(self, rank: str) -> Fault | None:
        """Why no request that names this rank can be placed; None: it can."""

    def foresee(self, shape: RequestShape) -> None:
        """Have looked up at once what `place` will want to know of the prompt; returns at once."""

    async def place(
        self,
        shape: RequestShape,
        *,
        receipt_for: str = "",
        avoid: frozenset[str] = frozenset(),
        instead_of: int | None = None,
    ) -> Decision:
        """Choose ranks and reserve them: no prefill rank to `avoid`, any other only where none is left.

        An answer nobody waits for any more is released by the pool. `receipt_for`: the request id under which a
        receipt is kept. The reservation `instead_of` which it is placed is given back in the same step, whatever
        becomes of this call.
        """

    async def rank_comes(self, shape: RequestShape, avoid: frozenset[str]) -> None:
        """Return when a newer snapshot has a rank for a request; there may never be one."""

    async def rebind(
        self, reservation: int, *, receipt_for: str = "", avoid: frozenset[str] = frozenset()
    ) -> Leg | None:
        """Say that the prefill of a pair is done; the decode leg to go on with, or None if there is none left.

        Decode ranks to `avoid` are taken only where there is no other.
        """

    def advance(self, reservation: int, phase: Phase) -> None:
        """Say how far a reservation has come; returns at once."""

    def decode_waits(self, reservation: int) -> None:
        """Say that the decode rank of a pair has the request, and waits for its prefill; returns at once."""

    def heard(self, card: RankCard, well: bool, reservation: int | None = None) -> None:
        """Say how an attempt at this life of a rank went, of the request with this `reservation` if it was placed.

        Returns at once.
        """

    def shun(self, rank: str) -> None:
        """Say that a rank took no connection: for a while others are preferred."""

    def release(self, reservation: int) -> None:
        """Give a reservation back; returns at once, idempotent."""


class Homes(Protocol):
    """Where responses are kept; all raise StoreUnavailableError and StoreRejectedError."""

    async def keep(self, response: str, home: Home, ttl_s: int) -> None:
        """Remember for so many seconds where a response is."""

    async def find(self, response: str) -> Home | None:
        """Where a response is, if that is known."""

    async def is_drained(self, home: Home) -> bool:
        """Whether an operator has drained the rank, whether it is still in its pool or not."""


class Addresses(Protocol):
    """Where the other gateways are reached."""

    async def find(self, life: str) -> Sequence[str]:
        """Each HOST:PORT of the gateway of this life, the best one first; none if there is no such gateway.

        Raises StoreUnavailableError, StoreRejectedError.
        """


class Pools(Protocol):
    """All pools."""

    @property
    def homes(self) -> Homes:
        """Where their ranks' responses are kept."""

    @property
    def addresses(self) -> Addresses:
        """Where the other gateways are."""

    @property
    def ready(self) -> bool:
        """Whether the store has been reached once."""

    @property
    def degraded(self) -> bool:
        """Whether any pool goes on without the store."""

    @property
    def counters(self) -> Mapping[str, int]:
        """What the scheduler counts, by name."""

    @property
    def reservations(self) -> int:
        """How many reservations this gateway holds in all of them."""

    def get(self, model: str) -> Pool | None:
        """The pool that serves a model, if it has ranks."""

    def known(self, model: str) -> Pool | None:
        """The pool that serves a model, or did until a moment ago: it may have no ranks now."""

    def names(self) -> Sequence[str]:
        """The models served."""

    def known_names(self) -> Sequence[str]:
        """The models served now or until a moment ago."""
