"""What a node says of all its ranks at one instant. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from agent.health import verdict
from agent.port_state import PortState
from agent.rank_state import rank_report
from agent.settings import AgentSettings
from scheduler.messages import RankCard, RankReport, RankState


class NodeReport(msgspec.Struct, frozen=True):
    """Reports and cards of every rank that was introduced, and for each rank that is not up, why."""

    reports: tuple[RankReport, ...]
    cards: Mapping[str, RankCard]
    because: Mapping[str, str]

    @property
    def gone(self) -> frozenset[str]:
        """The ranks that leave the pool."""
        return frozenset(r.rank for r in self.reports if r.state is RankState.GONE)

    @property
    def states(self) -> tuple[tuple[str, str, RankState], ...]:
        """What makes a report worth sending at once: which life of which rank is in which state."""
        return tuple((r.rank, r.incarnation, r.state) for r in self.reports)

    @property
    def facts(self) -> tuple[tuple[object, ...], ...]:
        """What makes a report worth sending before its time: all but the age and the slowly learned rate."""
        return tuple((r.rank, r.incarnation, r.state, r.running, r.waiting, r.kv_used_tokens) for r in self.reports)


def node_report(
    ports: Sequence[PortState], settings: AgentSettings, now_s: float, *, leaving: Sequence[PortState] = ()
) -> NodeReport:
    """The report at `now_s` (monotonic, as the samples' times). Each rank's state is health.py's verdict.

    The ranks of ports that are `leaving` this node are gone.
    """
    reports: list[RankReport] = []
    cards: dict[str, RankCard] = {}
    because: dict[str, str] = {}
    for port in ports:
        for track in port.ranks:
            if track.card is None:
                continue
            said = verdict(port.health, track, settings.stall_ms)
            if said.because:
                because[track.rank] = said.because
            cards[track.rank] = track.card
            reports.append(rank_report(track, track.card, said.state, now_s))
    for track in (track for port in leaving for track in port.ranks):
        if track.card is not None:
            because[track.rank] = "it was taken from this node"
            cards[track.rank] = track.card
            reports.append(rank_report(track, track.card, RankState.GONE, now_s))
    return NodeReport(tuple(reports), cards, because)
