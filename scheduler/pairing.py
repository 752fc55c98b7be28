"""Pairs of a prefill and a decode rank in an ask: place classes, and what a transfer between two of them costs. Pure.

A place class is what pairs at all (`RankCard.pair_class`) and where it is. Only places that make a difference are told
apart: nodes that have ranks of both roles, and zones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random
from typing import NamedTuple

import msgspec

from scheduler.decision import Candidate
from scheduler.messages import RankCard
from scheduler.rank_view import RankView

ZONE_LABEL = "zone"
BASE_S = 0.005
"""Of any transfer, however short the prompt. This and the shares below are beliefs, not measurements; they decide only
between ranks that are about equally loaded."""
SAME_NODE_SHARE = 0.008
"""Of the seconds that the prompt's prefill takes: fast ranks have fast networks, so a share holds where tokens a second
would not. The shares stand for 1,000,000, 200,000 and 50,000 tokens/s beside a prefill rate of 8,000."""
NEAR_SHARE = 0.04
"""Within a zone, or where zones are not known."""
FAR_SHARE = 0.16
"""Between zones."""

MOST_NODES = 4
"""Nodes told apart in one ask, by chance: each class more costs the script time."""


class Where(NamedTuple):
    """A place; empty names are not known, or make no difference."""

    node: str
    zone: str


class PairCandidates(NamedTuple):
    """The candidates of one pair class, and what each of its pairs costs beside them, in seconds."""

    prefills: Sequence[Candidate]
    decodes: Sequence[Candidate]
    later_s: float


class Paired(NamedTuple):
    """What an ask says of pairs; see decision.Ask."""

    prefills: tuple[Candidate, ...]
    decodes: tuple[Candidate, ...]
    transfer_s: dict[str, dict[str, float]]


def transfer_s(prefill_s: float, prefill: Where, decode: Where) -> float:
    """How long the KV of a prompt whose prefill takes `prefill_s` is on its way from one place to another."""
    if prefill.node and prefill.node == decode.node:
        share = SAME_NODE_SHARE
    elif prefill.zone == decode.zone or not (prefill.zone and decode.zone):
        share = NEAR_SHARE
    else:
        share = FAR_SHARE
    return BASE_S + share * prefill_s


def where(card: RankCard) -> Where:
    """Where a rank is."""
    return Where(card.node, card.labels.get(ZONE_LABEL, ""))


def pair_anywhere(pairs: Sequence[PairCandidates]) -> Paired:
    """Pairs whose transfer costs nothing."""
    classes = {str(number): pair for number, pair in enumerate(pairs)}
    return Paired(
        tuple(_in_class(name, each) for name, pair in classes.items() for each in pair.prefills),
        tuple(_in_class(name, each) for name, pair in classes.items() for each in pair.decodes),
        {name: {name: pair.later_s} for name, pair in classes.items()},
    )


def pair_by_place(
    pairs: Sequence[PairCandidates],
    ranks: Mapping[str, RankView],
    *,
    prefill_s: float,
    tie_s: float,
    chance: Random,
) -> Paired:
    """Pairs whose transfer costs what their places say, for a prompt whose prefill takes `prefill_s`; `ranks` by name.

    The script knows ties within a class only. So that of idle places not always the one of the fastest rank is taken,
    each place of prefill ranks costs up to `tie_s` more by chance.
    """
    prefills: list[Candidate] = []
    decodes: list[Candidate] = []
    costs: dict[str, dict[str, float]] = {}
    for number, pair in enumerate(pairs):
        place_of = _told_apart(pair, ranks, chance)
        names: dict[Where, str] = {}
        for place in place_of.values():
            names.setdefault(place, f"{number}.{len(names)}")
        prefills += [_in_class(names[place_of[each.rank]], each) for each in pair.prefills]
        decodes += [_in_class(names[place_of[each.rank]], each) for each in pair.decodes]
        from_places = dict.fromkeys(place_of[each.rank] for each in pair.prefills)
        to_places = dict.fromkeys(place_of[each.rank] for each in pair.decodes)
        for start in from_places:
            extra_s = tie_s * chance.random() if len(pairs) + len(from_places) > 2 else 0.0
            costs[names[start]] = {names[end]: transfer_s(prefill_s, start, end) + extra_s for end in to_places}
    return Paired(tuple(prefills), tuple(decodes), costs)


def _told_apart(pair: PairCandidates, ranks: Mapping[str, RankView], chance: Random) -> dict[str, Where]:
    """The places of a pair's ranks, those as one that differ in nothing."""
    cards = {each.rank: ranks[each.rank].card for each in (*pair.prefills, *pair.decodes)}
    shared = {cards[each.rank].node for each in pair.prefills} & {cards[each.rank].node for each in pair.decodes}
    nodes = shared if len(shared) <= MOST_NODES else set(chance.sample(sorted(shared), MOST_NODES))
    tells_zones = len({card.labels.get(ZONE_LABEL, "") for card in cards.values()} - {""}) > 1
    if not (nodes or tells_zones):
        return dict.fromkeys(cards, Where("", ""))
    places = {rank: where(card) for rank, card in cards.items()}
    return {
        rank: Where(place.node if place.node in nodes else "", place.zone if tells_zones else "")
        for rank, place in places.items()
    }


def _in_class(name: str, candidate: Candidate) -> Candidate:
    return msgspec.structs.replace(candidate, place_class=name)
