"""One rank as its agent knows it: folds successive samples into what is reported. Pure.

A rank has a card once it was introduced: discovered and, if asked for, warmed up. After a restart the old card stands
until the new incarnation is introduced. What is said of the rank meanwhile is health.py's.
"""

from __future__ import annotations

from math import inf

import msgspec

from agent.incarnation import Incarnation, next_incarnation, stamp
from agent.metrics_page import EngineSample
from agent.prefill_rate import PrefillRate, learn
from agent.progress import Progress, progress
from scheduler.messages import RankCard, RankReport, RankState, Role, Source


class RankTrack(msgspec.Struct, frozen=True, kw_only=True):
    """One rank over its samples. `present` is False once its engine's label left the page.

    `source` is where the newest sample has its load from; the engine last pushed at `pushed_at_s`, monotonic.
    """

    rank: str
    incarnation: Incarnation
    sample: EngineSample
    progress: Progress
    rate: PrefillRate
    card: RankCard | None = None
    present: bool = True
    source: Source = Source.PAGE
    pushed_at_s: float = -inf

    @property
    def is_introduced(self) -> bool:
        """Whether the card is the current incarnation's."""
        return self.card is not None and self.card.incarnation == self.incarnation.text

    @property
    def is_idle(self) -> bool:
        """Whether the last sample had no request."""
        return self.sample.running + self.sample.waiting == 0


def first_track(
    rank: str, sample: EngineSample, process_start_s: float | None, sampled_at_s: float, prior_tokens_per_s: float
) -> RankTrack:
    """A rank after its first sample; times are monotonic seconds."""
    return RankTrack(
        rank=rank,
        incarnation=Incarnation(stamp(process_start_s, sample.created_s)),
        sample=sample,
        progress=progress(None, None, sample, sampled_at_s),
        rate=PrefillRate(prior_tokens_per_s=prior_tokens_per_s),
    )


def next_track(
    track: RankTrack,
    sample: EngineSample,
    process_start_s: float | None,
    sampled_at_s: float,
    fresh_suffix: str,
    *,
    was_refused: bool,
) -> RankTrack:
    """The rank after one more sample. A new incarnation keeps nothing but the old card and the prior.

    `fresh_suffix` is unique text for an incarnation that the page does not stamp. `was_refused` is whether nobody
    listened on the port at some time since the last sample.
    """
    page_stamp = stamp(process_start_s, sample.created_s)
    incarnation = next_incarnation(
        track.incarnation, track.sample, sample, page_stamp, fresh_suffix, was_refused=was_refused
    )
    if incarnation != track.incarnation:
        fresh = first_track(track.rank, sample, process_start_s, sampled_at_s, track.rate.prior_tokens_per_s)
        return msgspec.structs.replace(fresh, incarnation=incarnation, card=track.card)
    elapsed_s = sampled_at_s - track.progress.sampled_at_s
    return msgspec.structs.replace(
        track,
        sample=sample,
        progress=progress(track.progress, track.sample, sample, sampled_at_s),
        rate=learn(track.rate, track.sample, sample, elapsed_s),
        present=True,
    )


def rank_report(track: RankTrack, card: RankCard, state: RankState, now_s: float) -> RankReport:
    """What is said at `now_s` of a rank that was introduced with `card`; `state` is health.py's verdict."""
    return RankReport(
        rank=track.rank,
        incarnation=card.incarnation,
        state=state,
        age_ms=max(0, round((now_s - track.progress.sampled_at_s) * 1e3)),
        running=track.sample.running,
        waiting=track.sample.waiting,
        kv_used_tokens=round(track.sample.kv_usage * card.kv_capacity_tokens),
        prefill_tokens_per_s=track.rate.tokens_per_s,
        computed_tokens=computed_tokens(track.sample),
        found_tokens=_found_tokens(track.sample, card.role),
        source=track.source,
    )


def _found_tokens(sample: EngineSample, role: Role) -> int:
    """The tokens of prompts that were in the rank's cache, or in a tier behind it.

    What a decode rank has from elsewhere it was sent by prefill ranks: that says nothing of its own cache.
    """
    return max(0, round(sample.prefix_hits + (0 if role is Role.DECODE else sample.external_hits)))


def computed_tokens(sample: EngineSample) -> int | None:
    """How many tokens the engine has written into its KV cache in this life, by which older ones leave it.

    These are prompt tokens that it did not find there, pulled ones too, and the generated ones. None where the page
    does not tell, or the engine has prompts and never looks them up: its prefix cache is switched off.
    """
    if sample.prefix_queries is None or (sample.prompt_tokens > 0 and sample.prefix_queries <= 0):
        return None
    return max(0, round(sample.prefix_queries - sample.prefix_hits + sample.generation_tokens))
