"""Receipts as tables for a terminal. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from forebay.explain import Explanation, Judged
from forebay.printable import cell, printable
from forebay.receipt_words import cost_of, is_full, milliseconds, sentence
from scheduler.alone import FULL_S
from scheduler.decision import Candidate, LegKind
from scheduler.receipt import Receipt, Verdict

KINDS = {LegKind.WHOLE: "whole", LegKind.PREFILL: "prefill", LegKind.DECODE: "decode"}
LEGEND = (
    "  to prefill, requests, KV tokens: the loads of the rank at the instant of the choice\n"
    "  cached: tokens of the prompt that it was believed to hold; age ms: since its engine was last read\n"
    "  costs of a pair's two ranks add up, with the transfer\n"
)


def tables(explanation: Explanation) -> Iterator[RenderableType]:
    """Each receipt: what was asked, the candidates by cost, why this one, and whether it comes out again."""
    for number, judged in enumerate(explanation.judged, 1):
        receipt = judged.found.receipt
        yield _text(_head(receipt, f"{number} of {len(explanation.judged)}"), style="bold")
        yield _text(_inputs(receipt))
        yield _candidates(receipt)
        if _has_reasons(judged):
            yield _text(f"{_answer(receipt)}: {sentence(receipt)}")
        yield from _verdict(judged)
    if explanation.judged:
        yield Text(LEGEND, style="dim")
    for what in explanation.unreadable:
        yield _text(f"a receipt of this request that cannot be read: {what}", style="red")
    for what in explanation.strange:
        yield _text(f"skipped: {what}", style="yellow")


def _text(words: str, style: str = "") -> Text:
    return Text(printable(words), style=style)


def _has_reasons(judged: Judged) -> bool:
    """Whether it can be said why these legs: they are the ones that were chosen, of what was asked."""
    receipt, wrong = judged.found.receipt, [each.field for each in judged.misfits]
    if any(field in {"ask", "the whole"} or field.startswith("legs") for field in wrong):
        return False
    places = range(1, len(receipt.candidates) + 1)
    return receipt.verdict is not Verdict.PLACE or (bool(receipt.legs) and all(leg in places for leg in receipt.legs))


def _head(receipt: Receipt, which: str) -> str:
    what = "rebinding of the decode leg" if receipt.held else "placement"
    return f"{which}: {what} in pool {receipt.pool} by gateway {receipt.gateway}, policy {receipt.policy}"


def _inputs(receipt: Receipt) -> str:
    shape = receipt.shape
    asked = f"asked about {len({each.rank for each in receipt.candidates})} of {receipt.eligible:,} ranks"
    snapshot = f"snapshot {max(0.0, receipt.pool_ms - receipt.snapshot_ms):,.0f} ms old"
    avoided = f", avoiding {', '.join(receipt.avoid)}" if receipt.avoid else ""
    left_out = f"; left out by a breaker: {', '.join(receipt.left_out)}" if receipt.left_out else ""
    tokens = f"{shape.prompt_tokens:,} prompt and {shape.output_tokens:,} output tokens"
    return f"{tokens}; {snapshot}; {asked}{avoided}{left_out}"


def _candidates(receipt: Receipt) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("", "rank", "leg"):
        table.add_column(name, no_wrap=True)
    for name in ("to prefill", "requests", "KV tokens", "cached", "age ms", "cost"):
        table.add_column(name, justify="right", no_wrap=True)
    places = sorted(enumerate(receipt.candidates, 1), key=lambda place: (place[1].kind, _sorting(receipt, place[1])))
    for place, candidate in places:
        mark = "→" if place in receipt.legs else ""
        table.add_row(mark, cell(candidate.rank), KINDS[candidate.kind], *_numbers(receipt, candidate))
    return table


def _sorting(receipt: Receipt, candidate: Candidate) -> float:
    cost_s = cost_of(receipt, candidate)
    return float("inf") if cost_s is None else cost_s


def _numbers(receipt: Receipt, candidate: Candidate) -> Iterator[str]:
    seen = next((each for each in receipt.loads if (each.rank, each.kind) == (candidate.rank, candidate.kind)), None)
    cached = receipt.shape.cached_tokens.get(candidate.rank, 0)
    if seen is None:
        yield from ("", "", "", f"{cached:,}", "", "not placeable")
        return
    yield from (f"{load:,.0f}" for load in (seen.queued_tokens, seen.requests, seen.kv_tokens))
    yield "" if candidate.kind is LegKind.DECODE else f"{cached:,}"
    yield f"{seen.report_age_ms:,}"
    yield f"full, {milliseconds(seen.cost_s - FULL_S)}" if is_full(seen.cost_s) else milliseconds(seen.cost_s)


def _answer(receipt: Receipt) -> str:
    if receipt.verdict is not Verdict.PLACE:
        return receipt.verdict.value
    return " and ".join(each.rank for each in receipt.chosen)


def _verdict(judged: Judged) -> Iterator[Text]:
    receipt = judged.found.receipt
    rules = f" (decided by the rules of another release, {receipt.rules})" if judged.other_rules else ""
    if not judged.misfits:
        scope = (
            "" if receipt.is_whole else "; which ranks to ask about was not recomputed, for not all are in a receipt"
        )
        yield _text(f"recomputed: same answer{rules}{scope}\n", style="green")
        return
    yield _text(f"recomputed: NOT the same answer{rules}", style="red")
    for misfit in judged.misfits[:20]:
        yield _text(f"  {misfit}", style="red")
    yield _text("")
