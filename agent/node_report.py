"""What a node says of all its ranks at one instant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from agent.health import Progress, is_stalled
from agent.port_state import PortState
from agent.rank_state import RankTrack, rank_report
from agent.settings import AgentSettings
from scheduler.messages import RankCard, RankReport


class NodeReport(msgspec.Struct, frozen=True):
    """Reports and cards of every introduced rank, and for each rank that is down, why."""

    reports: tuple[RankReport, ...]
    cards: Mapping[str, RankCard]
    down_because: Mapping[str, str]

    @property
    def facts(self) -> tuple[tuple[object, ...], ...]:
        """What makes a report worth sending before its time: all but the age and the slowly learned rate."""
        return tuple((r.rank, r.incarnation, r.state, r.running, r.waiting, r.kv_used_tokens) for r in self.reports)


def node_report(ports: Sequence[PortState], settings: AgentSettings, now_s: float) -> NodeReport:
    """The report at `now_s` (monotonic, as the samples' times)."""
    reports: list[RankReport] = []
    cards: dict[str, RankCard] = {}
    down: dict[str, str] = {}
    members = [track.progress for port in ports for track in port.ranks if track.present]
    for port in ports:
        for track in port.ranks:
            if track.card is None:
                continue
            group = members if settings.dp_group else [track.progress]
            because = _down_because(port, track, group, settings)
            if because:
                down[track.rank] = because
            cards[track.rank] = track.card
            reports.append(rank_report(track, track.card, because, now_s))
    return NodeReport(tuple(reports), cards, down)


def _down_because(port: PortState, track: RankTrack, group: Sequence[Progress], settings: AgentSettings) -> str:
    """Why a rank is down; empty while it is up."""
    if port.health.down_because:
        return port.health.down_because
    if not track.present:
        return "its engine left the page"
    if not track.is_introduced:
        return "restarted"
    if not track.sample.awake:
        return "asleep"
    if is_stalled(track.progress, group, settings.stall_ms / 1e3):
        return f"no progress for {settings.stall_ms} ms with {track.sample.running} requests running"
    return ""
