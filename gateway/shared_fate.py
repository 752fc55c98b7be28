"""Which ranks are likely to fail with one that has: behind the same port, or in the same DP group. Pure.

Ranks behind one port are one server, and a DP group steps together: when one of its engines dies, all of them do. Their
agent says so a second later; until then each of them looks idle, and three tries would be three of them.
"""

from __future__ import annotations

from collections.abc import Iterable

from scheduler.messages import RankCard


def behind_the_port_of(card: RankCard, cards: Iterable[RankCard]) -> frozenset[str]:
    """Those of these ranks that are reached where this one is, itself included."""
    return frozenset({card.rank, *(each.rank for each in cards if each.endpoint == card.endpoint)})


def likely_to_fail_with(card: RankCard, cards: Iterable[RankCard]) -> frozenset[str]:
    """Those of these ranks that are behind its port or step with it, itself included."""
    known = list(cards)
    group = {each.rank for each in known if card.dp_group and each.dp_group == card.dp_group}
    return behind_the_port_of(card, known) | group
