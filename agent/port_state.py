"""One port as its agent knows it: its health and the ranks behind it, folded from evidence. Pure."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from agent.discovery import rank_names
from agent.evidence import Answered, Evidence
from agent.health import PortHealth, judge
from agent.rank_state import RankTrack, first_track, next_track
from agent.settings import AgentSettings
from agent.targets import Target
from scheduler.messages import RankCard


class PortState(msgspec.Struct, frozen=True, kw_only=True):
    """A port's health and its ranks; no ranks until it answered once."""

    target: Target
    health: PortHealth = PortHealth()
    ranks: tuple[RankTrack, ...] = ()

    @property
    def strangers(self) -> tuple[RankTrack, ...]:
        """Ranks whose current incarnation has no card yet."""
        return tuple(track for track in self.ranks if track.present and not track.is_introduced)

    @property
    def is_idle(self) -> bool:
        """Whether the port is up and none of its engines had a request when it last answered."""
        return not self.health.down_because and bool(self.ranks) and all(track.is_idle for track in self.ranks)


def fold(port: PortState, evidence: Evidence, settings: AgentSettings, fresh_suffix: str) -> PortState:
    """The port after one more look at it."""
    health = judge(port.health, evidence, settings.stall_ms / 1e3)
    if not isinstance(evidence, Answered):
        return msgspec.structs.replace(port, health=health)
    page, asked_at_s = evidence.page, evidence.asked_at_s
    known = {track.rank: track for track in port.ranks}
    names = rank_names(port.target, page.engines)
    tracks = [
        next_track(
            known[rank], sample, page.process_start_s, asked_at_s, fresh_suffix, was_refused=port.health.was_refused
        )
        if rank in known
        else first_track(rank, sample, page.process_start_s, asked_at_s, settings.prefill_tokens_per_s)
        for rank, sample in zip(names, page.engines, strict=True)
    ]
    left = (
        msgspec.structs.replace(track, present=False)
        for track in port.ranks
        if track.rank not in names and track.card is not None
    )
    return PortState(target=port.target, health=health, ranks=(*tracks, *left))


def introduce(port: PortState, cards: Iterable[RankCard]) -> PortState:
    """The port with these cards; a card of an incarnation that is over by now is dropped."""
    new = {card.rank: card for card in cards}
    return msgspec.structs.replace(
        port,
        ranks=tuple(
            msgspec.structs.replace(track, card=card)
            if (card := new.get(track.rank)) is not None and card.incarnation == track.incarnation.text
            else track
            for track in port.ranks
        ),
    )
