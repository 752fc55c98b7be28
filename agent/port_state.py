"""One port as its agent knows it: its health and the ranks behind it, folded from evidence. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from math import inf

import msgspec

from agent.discovery import rank_names
from agent.evidence import Answered, Evidence, Healthy
from agent.health import PortHealth, judge
from agent.incarnation import stamp, went_backwards
from agent.metrics_page import EngineSample
from agent.progress import moved
from agent.rank_state import RankTrack, first_track, next_track
from agent.settings import AgentSettings
from agent.targets import Target
from scheduler.messages import RankCard, Source

_MOST_BEHIND_S = 1.0
"""Between a push and the same step on a page, on a busy machine."""


class PortState(msgspec.Struct, frozen=True, kw_only=True):
    """A port's health and its ranks; no ranks until it answered once.

    Its last page was asked for at `page_at_s`, monotonic, and said that the API server began at `process_start_s`.
    """

    target: Target
    health: PortHealth = PortHealth()
    ranks: tuple[RankTrack, ...] = ()
    page_at_s: float = -inf
    process_start_s: float | None = None

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
    if isinstance(evidence, Healthy):
        ranks = tuple(_idled(track, port.process_start_s, evidence.asked_at_s) for track in port.ranks)
        return msgspec.structs.replace(port, health=health, ranks=ranks)
    if not isinstance(evidence, Answered):
        return msgspec.structs.replace(port, health=health)
    page = evidence.page
    known = {track.rank: track for track in port.ranks}
    names = rank_names(port.target, page.engines)
    tracks = [
        _paged(known[rank], sample, evidence, fresh_suffix, was_refused=port.health.was_refused)
        if rank in known
        else first_track(rank, sample, page.process_start_s, evidence.asked_at_s, settings.prefill_tokens_per_s)
        for rank, sample in zip(names, page.engines, strict=True)
    ]
    left = (
        msgspec.structs.replace(track, present=False)
        for track in port.ranks
        if track.rank not in names and track.card is not None
    )
    return PortState(
        target=port.target,
        health=health,
        ranks=(*tracks, *left),
        page_at_s=evidence.asked_at_s,
        process_start_s=page.process_start_s,
    )


def _paged(
    track: RankTrack, sample: EngineSample, evidence: Answered, fresh_suffix: str, *, was_refused: bool
) -> RankTrack:
    """The rank after a page. Of a life that has pushed since the page was asked for, the page says nothing newer.

    Nor does one that is a little behind: each server pushes a step before its metrics have it, and of several servers
    another may have written the page meanwhile. After a restart the old ones do not push.
    """
    start_s, asked_at_s = evidence.page.process_start_s, evidence.asked_at_s
    is_same_life = stamp(start_s, sample.created_s) == track.incarnation.stamp and not was_refused
    if track.source is Source.PUSH and is_same_life:
        behind_s = _MOST_BEHIND_S if went_backwards(track.sample, sample) else 0.0
        if asked_at_s <= track.pushed_at_s + behind_s:
            return msgspec.structs.replace(track, present=True)
    after = next_track(track, sample, start_s, asked_at_s, fresh_suffix, was_refused=was_refused)
    is_told_all = after.incarnation == track.incarnation and not moved(track.sample, sample)
    return msgspec.structs.replace(after, source=track.source if is_told_all else Source.PAGE)


def _idled(track: RankTrack, process_start_s: float | None, asked_at_s: float) -> RankTrack:
    """The rank after an answer without a page: one that pushes, and has no request, has the load it had."""
    if track.source is not Source.PUSH or not track.is_idle or asked_at_s <= track.progress.sampled_at_s:
        return track
    return next_track(track, track.sample, process_start_s, asked_at_s, fresh_suffix="", was_refused=False)


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
