"""The simulated fleet as peers' gateways can know it: the ranks, their metrics, their KV events."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import NamedTuple

from scheduler.messages import Role
from simulator.cluster.clock import EventQueue
from simulator.cluster.engine import AnalyticRank
from simulator.cluster.peers.exact_prefixes import ExactPrefixes
from simulator.cluster.peers.polled import Polled, RankSample
from simulator.cluster.peers.poller import Poller, counted
from simulator.cluster.settings import FleetSettings
from simulator.cluster.site import Site

SHORT_S = 0.1
POLL_PHASES = 4
"""Moments within a period at which gateways poll; those of equal moments see the same."""


class PeerFleet(NamedTuple):
    """`chances` are the gateways' own, one each."""

    queue: EventQueue
    sites: Mapping[str, Site]
    settings: FleetSettings
    chances: Sequence[Random]

    def names(self, role: Role) -> list[str]:
        """The ranks of a role."""
        return [f"{role}{number}" for number in range(self.settings.counts[role])]

    def now_s(self) -> float:
        """The time."""
        return self.queue.now_s

    @property
    def gateways(self) -> range:
        """The gateways' numbers."""
        return range(self.settings.gateways)

    @property
    def ranks(self) -> list[AnalyticRank]:
        """All of them."""
        return [site.rank for site in self.sites.values()]

    def exact_prefixes(self) -> ExactPrefixes:
        """What an index of KV events knows."""
        return ExactPrefixes({rank.name: rank.kv for rank in self.ranks})

    def polled(self, period_s: float, sample: Callable[[AnalyticRank], RankSample] = counted) -> list[Polled]:
        """What each gateway knows that polls its ranks; they begin at different moments of the first period.

        Where the period is short, all poll at once, which makes no difference but to the time it takes. A sample is as
        old as the way back from the rank when it comes in.
        """
        phases = POLL_PHASES if period_s > SHORT_S else 1
        polls = [
            Poller(
                self.queue,
                self.ranks,
                period_s=period_s,
                first_s=period_s * phase / POLL_PHASES,
                late_s=self.settings.network_ms / 1000,
                sample=sample,
            ).polled
            for phase in range(min(phases, self.settings.gateways))
        ]
        return [polls[number % len(polls)] for number in self.gateways]
