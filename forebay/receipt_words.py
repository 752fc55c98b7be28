"""Why a request went where it went, in one sentence. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from scheduler.alone import FULL_S
from scheduler.decision import Candidate, LegKind
from scheduler.receipt import Receipt, Verdict


class Way(NamedTuple):
    """One way in which the request could have been served."""

    cost_s: float
    legs: tuple[int, ...]


def ways(receipt: Receipt) -> list[Way]:
    """All ways that were open, the cheapest first; ranks that could not be placed on are none."""
    return sorted(_ways(receipt))


def cost_of(receipt: Receipt, candidate: Candidate) -> float | None:
    """What a candidate cost, in seconds; None where it could not be placed on."""
    found = (each for each in receipt.loads if (each.rank, each.kind) == (candidate.rank, candidate.kind))
    return next((each.cost_s for each in found), None)


def is_full(cost_s: float) -> bool:
    """Whether a way or candidate of such a cost was full; a request's own weight may have been taken off it."""
    return cost_s >= FULL_S / 2


def sentence(receipt: Receipt) -> str:
    """Why this was the answer."""
    if receipt.verdict is not Verdict.PLACE:
        return "every candidate is full" if receipt.verdict is Verdict.WAIT else "no candidate could be placed on"
    if receipt.alone and receipt.held:
        return (
            "the store could not be asked: the decode rank is kept if it can be, else the cheaper one of two by chance"
        )
    open_ways = ways(receipt)
    cost_s = next((way.cost_s for way in open_ways if way.legs == receipt.legs), 0.0)
    why = [_against(receipt, [way for way in open_ways if way.legs != receipt.legs], cost_s)]
    if receipt.alone:
        why.append("the store could not be asked, so this is by the last snapshot and the gateway's own placements")
    if held := receipt.shape.cached_tokens.get(receipt.chosen[0].rank, 0):
        why.append(f"it holds {held:,} of the prompt's {receipt.shape.prompt_tokens:,} tokens")
    return "; ".join(why)


def _ways(receipt: Receipt) -> Iterator[Way]:
    places = list(enumerate(receipt.candidates, 1))
    costs = {place: cost for place, each in places if (cost := cost_of(receipt, each)) is not None}
    kinds: dict[LegKind, Sequence[tuple[int, Candidate]]] = {
        kind: [(place, each) for place, each in places if each.kind is kind and place in costs] for kind in LegKind
    }
    for place, _ in kinds[LegKind.WHOLE]:
        yield Way(costs[place], (place,))
    if receipt.held:
        for place, _ in kinds[LegKind.DECODE]:
            yield Way(costs[place], (place,))
    for first, prefill in kinds[LegKind.PREFILL]:
        for second, decode in kinds[LegKind.DECODE]:
            seconds = receipt.ask.transfer_s.get(prefill.place_class, {}).get(decode.place_class)
            if seconds is not None:
                yield Way(costs[first] + costs[second] + seconds, (first, second))


def _against(receipt: Receipt, others: Sequence[Way], cost_s: float) -> str:
    if not others:
        return "there was no other way"
    best_s = others[0].cost_s
    if is_full(best_s) and not is_full(cost_s):
        return "every other way is full"
    tied = sum(abs(way.cost_s - cost_s) <= receipt.ask.tie_s for way in others)
    if tied and best_s - cost_s <= receipt.ask.tie_s:
        return f"as cheap as {tied} other{'s' if tied > 1 else ''} within {milliseconds(receipt.ask.tie_s)}, by chance"
    return f"the least cost, by {milliseconds(best_s - cost_s)}"


def milliseconds(seconds: float) -> str:
    """A time as people read it."""
    return f"{seconds * 1000:,.3g} ms" if seconds < 1 else f"{seconds:,.2f} s"
