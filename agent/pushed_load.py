"""What pushes say of a port's ranks, beside what its pages said; and when a page is needed all the same. Pure.

A page says what pushes cannot: which life of the engine it is, how large its KV cache is, that the port answers. So a
rank is read by its page first. From then on a push is folded as a page would be that shows the same step, if it is of
the same life and says nothing older than what is known.

Pushes are believed to be all there is while no page shows more than the last one. Then a rank without a request in it
has had no step since, so each answer of its port is a sample with the same load. A busy rank that pushes nothing may be
hung, or in a long step, or its pushes are lost: pages are read until it pushes again, and say which.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import inf

import msgspec

from agent.incarnation import went_backwards
from agent.metrics_page import EngineSample
from agent.port_state import PortState
from agent.rank_state import RankTrack, next_track
from agent.stat_push import EnginePush
from scheduler.messages import Source

PAGE_EVERY_S = 10.0
"""Between two pages of a port whose ranks push."""
QUIET_S = 1.0
"""A busy rank that has pushed nothing for so long is read by its page."""


def fold_pushes(port: PortState, pushed: Mapping[str, EnginePush]) -> PortState:
    """The port with what its engines, by their labels, have pushed. Nothing is believed of a port that is down."""
    if not pushed or not _is_well(port):
        return port
    ranks = tuple(
        _fold(track, push, port) if track.present and (push := pushed.get(track.sample.engine)) is not None else track
        for track in port.ranks
    )
    return msgspec.structs.replace(port, ranks=ranks)


def needs_page(port: PortState, now_s: float) -> bool:
    """Whether the next look at the port, at this monotonic time, must read its page."""
    if not _is_well(port) or port.strangers or now_s - port.page_at_s >= PAGE_EVERY_S:
        return True
    present = [track for track in port.ranks if track.present]
    return not present or any(_is_in_doubt(track, now_s) for track in present)


def is_of(push: EnginePush, port: PortState) -> bool:
    """Whether the push comes from the process that gave the port's last page.

    A page of several API servers does not say when they began: then they must be several that push.
    """
    if port.process_start_s is None:
        return push.start_ms is None
    return push.start_ms == round(port.process_start_s * 1e3)


def is_over(before: PortState, after: PortState) -> bool:
    """Whether all that was pushed before a look was of a life that the look showed to be over.

    A push of another server is mostly known by when that began. But pages of several servers do not say it, the clock
    may have been set back, and a server that makes its metrics anew (elastic EP) goes on without stat loggers.
    """
    if after.health.was_refused:
        return True
    known = {track.rank: track.incarnation for track in before.ranks}
    is_anew = any(track.incarnation != known.get(track.rank, track.incarnation) for track in after.ranks)
    return is_anew and not before.health.was_refused


def pushed_sample(page: EngineSample, push: EngineSample) -> EngineSample:
    """The pushed sample with what only the page tells; what the page does not tell is left out again."""
    return msgspec.structs.replace(
        push,
        local_tokens=None if page.local_tokens is None else push.local_tokens,
        prefix_queries=None if page.prefix_queries is None else push.prefix_queries,
        created_s=page.created_s,
        cache=page.cache,
    )


def _fold(track: RankTrack, push: EnginePush, port: PortState) -> RankTrack:
    if not is_of(push, port):
        return msgspec.structs.replace(track, source=Source.PAGE)  # a page says whether it was restarted
    sample = pushed_sample(track.sample, push.sample)
    known_at_s = track.progress.sampled_at_s
    if went_backwards(track.sample, sample):
        return track
    if push.at_s > known_at_s or went_backwards(sample, track.sample):
        at_s = max(push.at_s, known_at_s)
        track = next_track(track, sample, port.process_start_s, at_s, fresh_suffix="", was_refused=False)
    return msgspec.structs.replace(track, source=Source.PUSH, pushed_at_s=max(push.at_s, track.pushed_at_s))


def _is_well(port: PortState) -> bool:
    health = port.health
    troubles = health.down_because or health.stalled_because or health.broken_in_a_row
    return port.page_at_s > -inf and not troubles and health.unanswered_from_s is None


def _is_in_doubt(track: RankTrack, now_s: float) -> bool:
    is_quiet = not track.is_idle and now_s - track.pushed_at_s > QUIET_S
    return track.source is Source.PAGE or is_quiet
