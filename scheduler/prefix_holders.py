"""What each rank still holds of a prompt, from what was placed on it and how much it has computed since. Pure.

A rank's prefix cache forgets the blocks it used longest ago. So a block that was used when the rank's odometer showed x
is there until it shows x and the cache's size, or so: blocks that running requests hold count as well, and forks share.
To believe a cache too small is ruinous, and twice too large harmless (in a simulation on real traces: with half of the
size believed 3.6 s of mean TTFT became 5.9 s, and with twice of it they stayed), hence `SLACK`.

A holder is spelled "<tag>=<odometer>", the tag being a hash of the rank and its incarnation: a new life holds nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import NamedTuple

from scheduler.prefix_chain import Chain
from scheduler.rank_view import RankView

SLACK = 1.5
LONGEST_ODOMETER = 16
"""Digits."""
BUSY_SHARE = 0.25
"""Of its prefill rate: a rank that computes less than this has blocks for longer than they are known."""
SHORTEST_MS, LONGEST_MS = 600_000, 86_400_000


class Holder(NamedTuple):
    """A rank by its tag: what it was last used for is held from this odometer on."""

    rank: str
    oldest: float


def tag_of(rank: RankView) -> str:
    """How the index calls a life of a rank. That of 10,000 lives two are called the same is no harm to speak of."""
    life = f"{rank.card.rank} {rank.card.incarnation}"
    return blake2b(life.encode(), digest_size=4).hexdigest()


def holders_of(ranks: Sequence[RankView]) -> dict[str, Holder]:
    """By tag, all ranks whose odometer is known."""
    return {
        tag_of(rank): Holder(rank.card.rank, rank.seen.computed_tokens - SLACK * rank.card.kv_capacity_tokens)
        for rank in ranks
        if rank.seen.computed_tokens is not None
    }


def touch_of(rank: RankView, uncached_tokens: int) -> str | None:
    """How a rank is written down that a prompt was placed on; None where its odometer is not known.

    The blocks are used when the rank has come to the prompt: its odometer then shows what is queued before it, too.
    """
    if rank.seen.computed_tokens is None:
        return None
    return f"{tag_of(rank)}={rank.seen.computed_tokens + rank.book.queued_tokens + uncached_tokens}"


def known_ms(ranks: Sequence[RankView]) -> int:
    """For how long blocks are to be known: until the slowest rank has filled its cache, busy at `BUSY_SHARE`."""
    seconds = max((SLACK * rank.card.kv_capacity_tokens / rank.seen.prefill_tokens_per_s for rank in ranks), default=0)
    return round(min(max(1000 * seconds / BUSY_SHARE, SHORTEST_MS), LONGEST_MS))


def cached_tokens(
    replies: Sequence[bytes], chain: Chain, block_tokens: float, holders: Mapping[str, Holder]
) -> dict[str, int]:
    """Tokens of the prompt that each rank holds, by rank; `replies` as prefix_look.lua gives them.

    The deepest block counts that a rank still holds: whoever used it has used all before it too. Words that cannot be
    read are left out.
    """
    cached: dict[str, int] = {}
    for end, words in reversed(_runs(replies, chain.ends)):
        for word in words.split():
            tag, _, odometer = word.decode(errors="replace").partition("=")
            holder = holders.get(tag)
            if holder is None or holder.rank in cached or not _is_number(odometer):
                continue
            if int(odometer) >= holder.oldest:
                cached[holder.rank] = int(end * block_tokens)
    return cached


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
