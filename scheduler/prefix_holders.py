"""What each rank still holds of a prompt, from what was placed on it and how much it has computed since. Pure.

A rank's prefix cache forgets the blocks it used longest ago. So a block that was used when the rank's odometer showed x
is there until it shows x and the cache's size, or so: blocks that running requests hold count as well, and forks share.
For how long it is believed to be there is in the rank's row, as its agent finds out (prefix_calibration.py).

A holder is spelled "<tag>=<odometer>", the tag being a hash of the rank and its incarnation: a new life holds nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from hashlib import blake2b
from typing import NamedTuple

from scheduler.prefix_chain import Chain
from scheduler.rank_view import RankView

LONGEST_ODOMETER = 16
"""Digits."""
KEPT = 4_096
"""Tags that are kept: those of a pool's ranks are asked for at each snapshot."""


class Holder(NamedTuple):
    """A rank by its tag: what it was last used for is held from the `oldest` odometer on; `now` is what it shows."""

    rank: str
    oldest: float
    now: int


class Held(NamedTuple):
    """What ranks hold of a prompt, by rank: `tokens` of it, and their `age_tokens`.

    The age is what the rank has computed since the deepest block was used; none of it is above zero where it has yet to
    come to the prompt that the block is believed to be cached by.
    """

    tokens: dict[str, int]
    age_tokens: dict[str, int]


def nothing_held() -> Held:
    """No rank holds anything."""
    return Held({}, {})


def tag_of(rank: RankView) -> str:
    """The tag of the life that was last read of."""
    return life_tag(rank.card.rank, rank.card.incarnation)


@lru_cache(KEPT)
def life_tag(rank: str, incarnation: str) -> str:
    """How the index calls a life of a rank. That of 10,000 lives two are called the same is no harm to speak of."""
    return blake2b(f"{rank} {incarnation}".encode(), digest_size=4).hexdigest()


def holders_of(ranks: Sequence[RankView]) -> dict[str, Holder]:
    """By tag, all ranks whose odometer is known, and that are believed to hold anything."""
    return {
        tag_of(rank): Holder(rank.card.rank, now - span, now)
        for rank in ranks
        if (now := rank.seen.computed_tokens) is not None and (span := _span_tokens(rank)) > 0
    }


def _span_tokens(rank: RankView) -> float:
    span = rank.seen.cache_span_tokens
    return rank.card.kv_capacity_tokens if span is None else span


def touch_of(rank: RankView, uncached_tokens: int) -> str | None:
    """How a rank is written down that a prompt was placed on; None where its odometer is not known.

    The blocks are used when the rank has come to the prompt: its odometer then shows what is queued before it, too.
    """
    if rank.seen.computed_tokens is None:
        return None
    return f"{tag_of(rank)}={rank.seen.computed_tokens + rank.book.queued_tokens + uncached_tokens}"


def held(replies: Sequence[bytes], chain: Chain, block_tokens: float, holders: Mapping[str, Holder]) -> Held:
    """What each rank holds of the prompt; `replies` as prefix_look.lua gives them.

    The deepest block counts that a rank still holds: whoever used it has used all before it too. Words that cannot be
    read are left out.
    """
    found = nothing_held()
    for end, words in reversed(_runs(replies, chain.ends)):
        if len(found.tokens) == len(holders):
            break
        for word in words.decode(errors="replace").split():
            tag, _, odometer = word.partition("=")
            holder = holders.get(tag)
            if holder is None or holder.rank in found.tokens or not _is_number(odometer):
                continue
            if (used_at := int(odometer)) >= holder.oldest:
                found.tokens[holder.rank] = int(end * block_tokens)
                found.age_tokens[holder.rank] = holder.now - used_at
    return found


def _runs(replies: Sequence[bytes], ends: Sequence[int]) -> list[tuple[int, bytes]]:
    """Neighbours with the same holders as one: where the last of them ends, and the holders."""
    runs: list[tuple[int, bytes]] = []
    for holders, end in zip(replies, ends, strict=False):
        if holders or not runs:
            runs.append((end, holders))
        else:
            runs[-1] = (end, runs[-1][1])
    return runs


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= LONGEST_ODOMETER
