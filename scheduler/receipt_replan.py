"""From what a receipt knows of the ranks to what was asked of the store, once more. Pure.

Where it knows every rank that could have been asked about, all of it is planned again, with the same chance. Where it
knows only those that were (a large pool, or a choice without the store), which these were is not made again: it was
also by chance, and by ranks that the receipt would be too long with. What each of them costs is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from random import Random
from types import MappingProxyType

import msgspec

from scheduler.decision import Ask, Candidate, LegKind
from scheduler.messages import Role
from scheduler.misfit import Misfit, misfits
from scheduler.pairing import Where, transfer_s, where
from scheduler.planning import Plan, Rules, least_queue_s, own_prefill_s, plan, tie_of
from scheduler.policies import POLICIES
from scheduler.policies.context import Context
from scheduler.policies.order import by_turn
from scheduler.policies.policy import Policy
from scheduler.rank_view import RankView
from scheduler.rebinding import plan_rebinding
from scheduler.receipt import Receipt
from scheduler.receipt_making import Case, Maker, Outcome, make
from scheduler.shortlist import MOST
from scheduler.slow_start import ramped_all
from scheduler.view import PoolView

_PRICED = ("prompt_tokens", "output_tokens", "spill")
"""Of an ask: what does not depend on which ranks it is about."""


def replan(receipt: Receipt, chance: Random) -> Iterator[Misfit]:
    """Where what was asked is not what is asked again; `chance` is that of the receipt's seed."""
    policy = POLICIES.get(receipt.policy)
    if policy is None:
        yield Misfit("policy", repr(receipt.policy), f"one of {', '.join(POLICIES)}")
        return
    receipt = _all_heard(receipt)
    ranks = {each.rank: each.view() for each in receipt.known}
    if unknown := sorted({each.rank for each in receipt.candidates} - ranks.keys()):
        yield Misfit("known", "the ranks it knows", f"also {', '.join(unknown)}, which it asked about")
    elif receipt.is_whole or receipt.held:
        yield from _all_again(receipt, policy, ranks, chance)
    else:
        yield from _priced_again(receipt, policy, ranks)


def _all_heard(receipt: Receipt) -> Receipt:
    """The receipt of the same decision where no agent fell silent.

    Silent ranks are taken where they are many (choice.py), by ranks that are in no receipt, too; those that were asked
    about were taken.
    """
    heard_ms = receipt.snapshot_ms
    known = tuple(msgspec.structs.replace(each, heard_ms=heard_ms) for each in receipt.known)
    return msgspec.structs.replace(receipt, known=known)


def _all_again(receipt: Receipt, policy: Policy, ranks: Mapping[str, RankView], chance: Random) -> Iterator[Misfit]:
    view = PoolView(receipt.epoch, receipt.version, receipt.snapshot_ms, MappingProxyType(dict(ranks)))
    planned = _plan(receipt, view, Rules(policy=policy, connectors=frozenset(receipt.connectors)), chance)
    if planned is None:
        yield Misfit("known", "ranks that were asked about", "none that can be")
    elif receipt.is_whole:
        made_again = _made_again(receipt, view, planned)
        for field in Receipt.__struct_fields__:
            yield from misfits(field, getattr(receipt, field), getattr(made_again, field))
    else:
        recorded, again = ({each.rank: each for each in ask.decodes} for ask in (receipt.ask, planned.ask))
        if policy.order is by_turn:
            again = {name: _of_its_turn(each, recorded.get(name, each)) for name, each in again.items()}
        yield from misfits("ask.decodes", recorded, again)


def _plan(receipt: Receipt, view: PoolView, rules: Rules, chance: Random) -> Plan | None:
    avoid, pool_ms = frozenset(receipt.avoid), receipt.pool_ms
    if receipt.held:
        return plan_rebinding(receipt.held, view, rules, pool_ms=pool_ms, chance=chance, avoid=avoid)
    return plan(receipt.shape, view, rules, pool_ms=pool_ms, turn=receipt.turn, chance=chance, avoid=avoid)


def _made_again(receipt: Receipt, view: PoolView, planned: Plan) -> Receipt:
    """The receipt that the same outcome has, of what was planned again."""
    case = Case(
        *(receipt.request, receipt.seed, receipt.shape, view, receipt.pool_ms, receipt.turn, frozenset(receipt.avoid)),
        receipt.held,
    )
    kept = {name: getattr(receipt, name) for name in Outcome.__struct_fields__}
    about = {name: getattr(receipt, name) for name in ("pool", "gateway", "policy", "rules")}
    made = make(case, planned, Outcome(**kept), Maker(connectors=frozenset(receipt.connectors), **about))
    return msgspec.structs.replace(made, left_out=receipt.left_out)  # of these ranks nothing else is known


def _of_its_turn(again: Candidate, recorded: Candidate) -> Candidate:
    """What a rank costs by turn is its place among ranks that are not all known."""
    return msgspec.structs.replace(again, base_s=recorded.base_s)


def _priced_again(receipt: Receipt, policy: Policy, ranks: Mapping[str, RankView]) -> Iterator[Misfit]:
    ask, shape = receipt.ask, receipt.shape
    again = Ask(prompt_tokens=shape.prompt_tokens, output_tokens=shape.output_tokens)
    for name in _PRICED:
        yield from misfits(f"ask.{name}", getattr(ask, name), getattr(again, name))
    yield from _context(receipt, ranks)
    contexts = [Context(least_queue_s=receipt.least_queue_s, later_s=later_s) for later_s in (0.0, policy.later_s)]
    for place, each in enumerate(receipt.candidates, 1):
        costs = [_price(receipt, policy, each, ranks[each.rank], context) for context in contexts]
        if policy.order is by_turn:
            costs = [_of_its_turn(cost, each) for cost in costs]
        if each not in costs:
            yield from misfits(f"candidate {place} ({each.rank})", each, costs[0])
    prefilling = (*ask.singles, *ask.prefills)
    tie_s = tie_of(prefilling, own_prefill_s(shape, prefilling, ranks))
    yield from misfits("ask.tie_s", ask.tie_s, tie_s)
    if policy.in_seconds and ask.prefills:
        yield from _transfers(receipt, ranks, tie_s)


def _context(receipt: Receipt, ranks: Mapping[str, RankView]) -> Iterator[Misfit]:
    """The least queue is of all that were priced, of which not all may be known."""
    prefilling = [each for each in ranks.values() if each.card.role is not Role.DECODE or not receipt.ask.prefills]
    least_s = least_queue_s(prefilling, {name: rank.loads(receipt.pool_ms) for name, rank in ranks.items()})
    if receipt.least_queue_s > least_s or (receipt.priced == len(ranks) and receipt.least_queue_s < least_s):
        yield Misfit("least_queue_s", f"{receipt.least_queue_s!r}", f"{least_s!r} on the ranks it knows")
    if receipt.priced < len(ranks):
        yield Misfit("priced", f"{receipt.priced}", f"{len(ranks)} at least, which it knows")
    pair_classes = {rank.card.pair_class for rank in ranks.values() if rank.card.role is Role.PREFILL}
    cuts = len(ranks) >= MOST or len(pair_classes) > 1 or receipt.alone
    if receipt.eligible < len(ranks) or (receipt.eligible > len(ranks) and not cuts):
        yield Misfit("eligible", f"{receipt.eligible}", f"{len(ranks)}, all of which it knows")


def _price(receipt: Receipt, policy: Policy, asked: Candidate, rank: RankView, context: Context) -> Candidate:
    (again,) = ramped_all(policy.price(asked.kind, receipt.shape, [rank], context), [rank], receipt.pool_ms)
    again = msgspec.structs.replace(again, place_class=asked.place_class)
    if asked.kind is LegKind.DECODE or rank.card.rank not in receipt.shape.cached_tokens:
        return again
    return msgspec.structs.replace(again, uncached_tokens=receipt.shape.uncached_tokens(rank.card.rank))


def _transfers(receipt: Receipt, ranks: Mapping[str, RankView], tie_s: float) -> Iterator[Misfit]:
    """What a transfer between two ranks costs, their places told apart or not, and up to a tie more by chance."""
    prefill_s = own_prefill_s(receipt.shape, receipt.ask.prefills, ranks)
    for prefill in receipt.ask.prefills:
        for decode in receipt.ask.decodes:
            seconds = receipt.ask.transfer_s[prefill.place_class].get(decode.place_class)
            if seconds is None:
                continue
            start, end = where(ranks[prefill.rank].card), where(ranks[decode.rank].card)
            blurred = [(start, end), (Where("", start.zone), Where("", end.zone)), (Where("", ""), Where("", ""))]
            blurred.append((Where(start.node, ""), Where(end.node, "")))
            least = [transfer_s(prefill_s, *places) for places in blurred]
            if not any(each <= seconds <= each + tie_s for each in least):
                field = f"ask.transfer_s.{prefill.place_class}.{decode.place_class}"
                yield Misfit(field, f"{seconds!r}", f"{least[0]!r} and at most a tie of {tie_s!r}")
