"""From a decision and what it was made from to its receipt. Pure."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from scheduler.alone import cost_alone
from scheduler.choice import choose
from scheduler.decision import Ask, Candidate, PricedRank, RequestShape
from scheduler.known_rank import KnownRank
from scheduler.left_out import left_out
from scheduler.loads import Loads
from scheduler.messages import Role
from scheduler.pending import StoreAnswer
from scheduler.planning import Plan, least_queue_s
from scheduler.rebinding import going_on
from scheduler.receipt import RankRows, Receipt, Verdict
from scheduler.reservation import Reservation
from scheduler.view import PoolView

MOST_AVOIDED = 32
"""Names of ranks to avoid in a receipt; those that were asked about all the same come first."""


class Maker(msgspec.Struct, frozen=True, kw_only=True):
    """Who decides, and by what rules; see Receipt."""

    pool: str
    gateway: str
    policy: str
    rules: str
    connectors: frozenset[str]


class Case(msgspec.Struct, frozen=True):
    """What one decision is made from; see Receipt. `held`: the reservation to rebind.

    Without a `request` no receipt is kept, and there is no seed.
    """

    request: str
    seed: int
    shape: RequestShape
    view: PoolView
    pool_ms: float
    turn: int
    avoid: frozenset[str]
    held: Reservation | None = None

    def explained(self, ask: Ask) -> Ask:
        """The ask as it is sent: what the script sees is told only for a receipt."""
        return msgspec.structs.replace(ask, explain=True) if self.request else ask


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What was decided; see Receipt."""

    verdict: Verdict
    reservation: int
    legs: tuple[int, ...] = ()
    cost_s: float = 0.0
    loads: tuple[PricedRank, ...] = ()
    rows_ms: int = 0
    rows: tuple[RankRows, ...] = ()
    believed: dict[str, Loads] = {}
    alone: bool = False


def answered(answer: StoreAnswer) -> Outcome:
    """What the store decided, as it explained it."""
    verdict = Verdict.PLACE if answer.reservation else Verdict.WAIT if answer.wait else Verdict.REJECT
    rows_ms, *words = (row.decode(errors="replace") for row in answer.rows)
    cells = iter(words)
    return Outcome(
        verdict=verdict,
        reservation=answer.reservation_id,
        legs=answer.legs,
        cost_s=answer.cost_s,
        loads=answer.receipt,
        rows_ms=int(rows_ms),
        rows=tuple(RankRows(*row) for row in zip(cells, cells, cells, strict=True)),
    )


def decided_alone(
    planned: Plan, chosen: tuple[Candidate, ...], believed: Mapping[str, Loads], pool_ms: float, reservation: int
) -> Outcome:
    """What the gateway decided without the store, by the loads that it believed in."""
    candidates = (*planned.ask.singles, *planned.ask.prefills, *planned.ask.decodes)
    ages = {name: pool_ms - rank.seen.sampled_ms for name, rank in planned.ranks.items()}
    return Outcome(
        verdict=Verdict.PLACE,
        reservation=reservation,
        legs=tuple(candidates.index(each) + 1 for each in chosen),
        loads=tuple(price_believed(each, believed[each.rank], ages[each.rank]) for each in candidates),
        believed={each.rank: believed[each.rank] for each in candidates},
        alone=True,
    )


def make(case: Case, planned: Plan, outcome: Outcome, maker: Maker) -> Receipt:
    """The receipt of a decision on what was planned for a case."""
    asked = {each.rank for each in (*planned.ask.singles, *planned.ask.prefills, *planned.ask.decodes)}
    shown = asked | {leg.rank for leg in case.held.legs} if case.held else asked
    eligible, ranks_by_name = _eligible(case, planned, maker.connectors), case.view.ranks
    # Where all is planned again their order counts; else there may be thousands to look through for it.
    names = (name for name in ranks_by_name if name in shown) if eligible == len(asked) else sorted(shown)
    known = [ranks_by_name[name] for name in names if name in ranks_by_name]
    cached = {name: tokens for name, tokens in case.shape.cached_tokens.items() if name in shown}
    shape = msgspec.structs.replace(case.shape, prompt_key="", blocks=(), block_tokens=0.0, cached_tokens=cached)
    ranks, asks_pairs = planned.ranks.values(), bool(planned.ask.prefills)
    prefilling = [] if case.held else [each for each in ranks if each.card.role is not Role.DECODE or not asks_pairs]
    return Receipt(
        request=case.request,
        pool=maker.pool,
        gateway=maker.gateway,
        policy=maker.policy,
        rules=maker.rules,
        connectors=tuple(sorted(maker.connectors)),
        shape=shape,
        avoid=tuple(sorted(case.avoid, key=lambda name: (name not in asked, name))[:MOST_AVOIDED]),
        turn=case.turn,
        seed=case.seed,
        epoch=case.view.epoch,
        version=case.view.version,
        snapshot_ms=case.view.pool_ms,
        pool_ms=case.pool_ms,
        eligible=eligible,
        priced=len(ranks),
        least_queue_s=least_queue_s(prefilling, planned.loads),
        known=tuple(KnownRank.of(each, placeable=each.card.rank in asked) for each in known),
        held=case.held,
        left_out=_left_out(case, alone=outcome.alone),
        ask=case.explained(planned.ask),
        rows_ms=outcome.rows_ms,
        rows=outcome.rows,
        believed=outcome.believed,
        alone=outcome.alone,
        verdict=outcome.verdict,
        legs=outcome.legs,
        cost_s=outcome.cost_s,
        loads=outcome.loads,
        reservation=outcome.reservation,
    )


def _left_out(case: Case, *, alone: bool) -> tuple[str, ...]:
    """As all gateways knew of it; what this one doubted by itself is only among the ranks to avoid."""
    out = left_out(case.view, {}, case.pool_ms, alone=alone).out
    return tuple(sorted(out & case.avoid))[:MOST_AVOIDED]


def _eligible(case: Case, planned: Plan, connectors: frozenset[str]) -> int:
    """How many ranks could have been asked about."""
    if case.held:
        pair_class = planned.ranks[planned.ask.decodes[0].rank].card.pair_class
        return len(going_on(case.held, case.view, pair_class, case.avoid))
    choice = choose(case.shape, case.view, connectors, case.avoid)
    if not choice.pairs:
        return len(choice.mixed) + len(choice.decode)
    return len(choice.mixed) + sum(len(pair.prefill) + len(pair.decode) for pair in choice.pairs)


def price_believed(candidate: Candidate, loads: Loads, age_ms: float) -> PricedRank:
    """What a candidate costs by loads that a gateway believes in."""
    return PricedRank(
        rank=candidate.rank,
        kind=candidate.kind,
        queued_tokens=loads.queued_tokens,
        requests=loads.requests,
        kv_tokens=loads.kv_tokens,
        report_age_ms=int(age_ms),
        cost_s=cost_alone(candidate, loads),
    )
