"""Whatever a pool looks like: what is planned can be placed, and what is placed can be gone on with."""

from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from scheduler.alone import choose_alone
from scheduler.decision import LegKind, RequestShape
from scheduler.messages import Role
from scheduler.planning import Plan, Rules, plan, plan_alone
from scheduler.policies import POLICIES
from scheduler.rank_view import RankView
from scheduler.rebinding import plan_rebinding
from scheduler.reservation import reserve
from scheduler.view import PoolView
from tests.invariants.profiles import examples
from tests.scheduler.drawn_pools import NIXL, POOL_MS, least_tokens, pools

KINDS = {LegKind.PREFILL: {Role.PREFILL}, LegKind.DECODE: {Role.DECODE}, LegKind.WHOLE: {Role.MIXED, Role.DECODE}}

shapes = st.builds(
    RequestShape,
    prompt_tokens=st.integers(0, 1 << 24),
    output_tokens=st.integers(0, 1 << 24),
    prompt_key=st.just("k"),
    pairable=st.booleans(),
    least_tokens=least_tokens,
)


def check(planned: Plan, of: PoolView, shape: RequestShape, avoid: frozenset[str]) -> None:
    ask, placeable = planned.ask, {rank.card.rank: rank for rank in of.placeable()}
    candidates = (*ask.singles, *ask.prefills, *ask.decodes)
    assert ask.singles or (ask.prefills and ask.decodes)
    assert shape.pairable or not (ask.prefills or ask.decodes)
    for each in candidates:
        assert placeable[each.rank].card.role in KINDS[each.kind]
        assert each.incarnation == placeable[each.rank].card.incarnation
        assert planned.ranks[each.rank] is placeable[each.rank]
        assert each.base_s >= 0
    assert not avoid & {each.rank for each in ask.prefills}
    for p in ask.prefills:
        for d in ask.decodes:
            cards = placeable[p.rank].card, placeable[d.rank].card
            pairs = cards[0].pair_class == cards[1].pair_class
            assert (d.place_class in ask.transfer_s[p.place_class]) == pairs
            assert cards[0].connector == cards[1].connector == "nixl" or not pairs
    assert len(ask.prefills) <= 16
    assert len(ask.decodes) <= 16
    assert len(ask.singles) <= 18


def others(of: PoolView, roles: set[Role], avoid: frozenset[str]) -> list[RankView]:
    return [rank for rank in of.placeable() if rank.card.role in roles and rank.card.rank not in avoid]


def too_short(of: PoolView, roles: set[Role], tokens: int) -> frozenset[str]:
    """The ranks of these roles that have no room, where any has."""
    ranks = others(of, roles, frozenset())
    short = frozenset(rank.card.rank for rank in ranks if rank.card.max_model_len < tokens)
    return short if len(short) < len(ranks) else frozenset()


@examples(150)
@given(
    of=pools(),
    shape=shapes,
    policy=st.sampled_from(sorted(POLICIES)),
    turn=st.integers(0, 99),
    avoid=st.frozensets(st.sampled_from([f"{role}{number}" for role in "mpd" for number in range(6)])),
    seed=st.integers(0, 99),
)
def test_what_is_planned_can_be_placed_and_gone_on_with(
    of: PoolView, shape: RequestShape, policy: str, turn: int, avoid: frozenset[str], seed: int
) -> None:
    rules, chance, answering = Rules(policy=POLICIES[policy], connectors=NIXL), Random(seed), {Role.MIXED, Role.DECODE}
    with_store = plan(shape, of, rules, pool_ms=POOL_MS, turn=turn, chance=chance, avoid=avoid)
    without = plan_alone(shape, of, rules, pool_ms=POOL_MS, chance=chance, avoid=avoid)
    for planned in (with_store, without):
        assert (planned is None) == (not others(of, answering, frozenset()))
        if planned is None:
            continue
        check(planned, of, shape, avoid)
        asked = {each.rank for each in (*planned.ask.singles, *planned.ask.decodes)}
        short = too_short(of, answering, shape.least_tokens)
        assert not short & asked
        assert not too_short(of, {Role.PREFILL}, shape.least_tokens) & {each.rank for each in planned.ask.prefills}
        if others(of, answering, avoid | short):
            assert not avoid & asked
        held = reserve(planned.ask, choose_alone(planned.ask, planned.loads))
        assert planned.legs(held)
        if len(held.legs) == 1:
            continue
        onwards = plan_rebinding(held, of, rules, pool_ms=POOL_MS, chance=chance, avoid=frozenset())
        assert onwards is not None, "all is as it was"
        cards = {each.rank: onwards.ranks[each.rank].card for each in onwards.ask.decodes}
        assert held.legs[1].rank in cards or of.ranks[held.legs[1].rank].seen.heard_ms == 0
        assert min(card.max_model_len for card in cards.values()) >= of.ranks[held.legs[1].rank].card.max_model_len
        assert {card.pair_class for card in cards.values()} == {of.ranks[held.legs[0].rank].card.pair_class}
