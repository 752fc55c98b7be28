"""The ranks that are priced for one request: of all that it may go to the likely ones, and some by chance. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import NamedTuple

from scheduler.alone import CHOICES, preferred
from scheduler.choice import Choice
from scheduler.placeable import Placeable
from scheduler.policies.order import by_chance
from scheduler.policies.policy import Policy
from scheduler.rank_view import RankView
from scheduler.shortlist import MOST

MOST_CLASSES = 4
"""Pair classes that one request is priced on; a pool that is being upgraded has two."""


class Picks(NamedTuple):
    """Ranks of one role."""

    likely: Sequence[RankView] = ()
    drawn: Sequence[RankView] = ()

    @staticmethod
    def of(
        ranks: Placeable, policy: Policy, turn: int, share: int, chance: Random, holders: Sequence[str] = ()
    ) -> Picks:
        """Of these ranks, where `share` pair classes share the prices; see Policy.likely.

        `holders` have a part of the prompt in their caches: they are likely too, whatever their load.
        """
        likely = policy.likely(ranks, turn, share)
        if len(likely) == len(ranks):
            # Where all ranks will be asked about, none need be drawn.
            return Picks(likely, () if len(ranks) <= MOST // share else ranks.drawn(chance, share))
        return Picks([*likely, *ranks.named(holders)], ranks.drawn(chance, share))

    @property
    def ranks(self) -> Sequence[RankView]:
        """Each of them once."""
        return list({rank.card.rank: rank for rank in (*self.likely, *self.drawn)}.values())


class PairPicks(NamedTuple):
    """Ranks of one pair class, and whether it is this class's turn."""

    prefill: Picks
    decode: Picks
    is_first: bool


class Picked(NamedTuple):
    """All that is priced, and which group's turn it is: mixed ranks, decode ranks for whole requests, or pairs.

    There are decode ranks that serve whole requests only where there are no pairs.
    """

    mixed: Picks
    decode_whole: Picks
    pairs: Sequence[PairPicks]
    mixed_first: bool
    decode_whole_first: bool


def pick(choice: Choice, policy: Policy, turn: int, chance: Random, holders: Sequence[str] = ()) -> Picked:
    """Of ranks that the store will be asked about; `turn` counts the placements of the asking gateway.

    `holders` have a part of the prompt in their caches.
    """
    pairs = choice.pairs if len(choice.pairs) <= MOST_CLASSES else chance.sample(choice.pairs, MOST_CLASSES)
    share = max(1, len(pairs))
    decode_whole = Placeable(()) if pairs else choice.decode
    sizes = [len(choice.mixed), len(decode_whole), *(len(prefill) + len(decode) for prefill, decode in pairs)]
    first, turn = policy.order(sizes, turn, chance)

    def some(ranks: Placeable, share: int) -> Picks:
        return Picks.of(ranks, policy, turn, share, chance, holders)

    return Picked(
        mixed=some(choice.mixed, 1),
        decode_whole=some(decode_whole, 1),
        pairs=[
            PairPicks(some(prefill, share), some(decode, share), first == group)
            for group, (prefill, decode) in enumerate(pairs, 2)
        ],
        mixed_first=first == 0,
        decode_whole_first=first == 1,
    )


def pick_alone(choice: Choice, prompt_key: str, chance: Random, holders: Sequence[str] = ()) -> Picked:
    """Of ranks that nobody will be asked about: for what prefills, those that any gateway would prefer for the prompt.

    `holders` are remembered to hold a part of it: they are priced too. For what only decodes, any two that pair with
    them. Decode ranks for whole requests are taken for mixed ones.
    """
    whole = choice.mixed.ranks if choice.pairs else (*choice.mixed.ranks, *choice.decode.ranks)
    liked = _liked([rank for pair in choice.pairs for rank in pair.prefill.ranks], prompt_key, holders)
    pairs = [pair for pair in choice.pairs if any(rank in pair.prefill for rank in liked)]
    first, _ = by_chance([len(whole), *(len(prefill) + len(decode) for prefill, decode in pairs)], 0, chance)
    return Picked(
        mixed=Picks(_liked(whole, prompt_key, holders)),
        decode_whole=Picks(),
        pairs=[
            PairPicks(
                Picks([rank for rank in liked if rank in prefill]),
                Picks(chance.sample(decode.ranks, min(CHOICES, len(decode)))),
                first == group,
            )
            for group, (prefill, decode) in enumerate(pairs, 1)
        ],
        mixed_first=first == 0,
        decode_whole_first=False,
    )


def _liked(ranks: Sequence[RankView], prompt_key: str, holders: Sequence[str]) -> Sequence[RankView]:
    """Each of them once."""
    two = preferred(ranks, prompt_key)
    return [*two, *(rank for rank in ranks if rank.card.rank in holders and rank not in two)]
