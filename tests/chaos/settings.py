"""What a chaos run is: how many requests and faults of which kinds, on what fleets. Pure."""

from __future__ import annotations

from typing import Literal

import msgspec

from tests.chaos.kinds import StoreKind
from tests.chaos.partitions import Means

Ranks = Literal["mixed", "pairs"]
MODEL = "sim"


class Stage(msgspec.Struct, frozen=True):
    """One fleet, with its share of the run; what is given here counts in place of the run's own.

    `speed` divides the times of its simulated ranks.
    """

    ranks: Ranks
    store: StoreKind
    kinds: tuple[str, ...] = ()
    rate: float = 0.0
    rounds: int = 0
    speed: float = 1.0

    @property
    def name(self) -> str:
        """For people."""
        ranks = "mixed ranks" if self.ranks == "mixed" else "prefill and decode ranks"
        speed = "" if self.speed == 1.0 else f" {self.speed:g} times as fast"
        only = f", {' and '.join(self.kinds)} only" if self.kinds else ""
        rate = f", {self.rate:g} requests/s" if self.rate else ""
        return f"{ranks}{speed}, Redis {'with Sentinels' if self.store == 'sentinel' else 'alone'}{only}{rate}"

    def of(self, settings: ChaosSettings) -> ChaosSettings:
        """The run's settings as they are on this fleet."""
        return msgspec.structs.replace(
            settings,
            kinds=self.kinds or settings.kinds,
            rate=self.rate or settings.rate,
            rounds=self.rounds or settings.rounds,
        )


class ChaosSettings(msgspec.Struct, frozen=True, kw_only=True):
    """A run. `requests` and `faults` are those of all stages together; `every_s` is from one fault to the next.

    With `rounds` each kind comes so often on each fleet, in place of `faults`. With `overlap` so many faults may be
    there at once, but never two of ranks, of gateways, of agents or of Redis. Ranks are at `ranks_port` and the ports
    above it, or where the system wants if it is 0. A request that has no whole answer after `patience_s` hangs.
    `partitions` is what links are cut with: None for namespaces where they can be made.
    """

    seed: int = 1
    requests: int = 1_500
    rate: float = 25.0
    faults: int = 24
    rounds: int = 0
    every_s: float = 2.5
    overlap: int = 1
    kinds: tuple[str, ...] = ()
    stages: tuple[Stage, ...] = (Stage("mixed", "alone"),)
    gateways: int = 3
    ranks: int = 8
    agents: int = 4
    patience_s: float = 40.0
    against: str = ""
    ranks_port: int = 0
    partitions: Means | None = None

    def shares(self) -> list[tuple[Stage, int, int]]:
        """For each stage its requests and faults."""
        count = len(self.stages)
        return [
            (
                stage,
                self.requests // count + (n < self.requests % count),
                self.faults // count + (n < self.faults % count),
            )
            for n, stage in enumerate(self.stages)
        ]
