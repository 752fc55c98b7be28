"""The tables of docs/placement.md as Markdown. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import msgspec

from benchmarks.placement_results import Result, difference, ttft_ratio
from benchmarks.placement_tables import FLAT, OURS, OWN, TableSpec

HEAD = (
    "# Rules on the same simulated fleets\n\n"
    "Made by `python -m benchmarks.placement page`; what they mean stands in [placement.md](placement.md). "
    "In bold: better than\nForebay beyond two standard errors, seed by seed.\n"
)
"""What stands before the tables."""


class Cell(msgspec.Struct, frozen=True, kw_only=True):
    """A rule's result, and Forebay's in the same case."""

    result: Result
    own: Result


def page_of(table: TableSpec, results: Sequence[Result]) -> str:
    """The tables of one workload, and the command that makes a row of them."""
    command = " ".join(table.options_of("RULE", "TRACES", "1-8"))
    parts = [f"### {table.title}", "", f"`forebay simulate {command}`", ""]
    if table in FLAT:
        parts += _flat(results)
    else:
        parts += ["Mean TTFT in seconds; in brackets x Forebay's.", "", *_grid(results, _ttft)]
        parts += ["", "Goodput, in percent.", "", *_grid(results, _goodput)]
        parts += ["", *_beaten(results)]
    return "\n".join(parts) + "\n"


def _grid(results: Sequence[Result], text: Callable[[Cell], str]) -> Iterator[str]:
    """A row for each rule, a column for each load at each number of gateways."""
    by_case = {(each.policy, each.gateways, each.load): each for each in results}
    columns = sorted({(each.gateways, each.load) for each in results})
    yield "| rule | " + " | ".join(f"G = {gateways}, {load:g}" for gateways, load in columns) + " |"
    yield "|---" * (len(columns) + 1) + "|"
    for rule in dict.fromkeys(each.policy for each in results):
        cells = []
        for gateways, load in columns:
            result, own = by_case.get((rule, gateways, load)), by_case.get((OWN, gateways, load))
            cells.append(text(Cell(result=result, own=own)) if result and own else "")
        yield f"| {_name(rule)} | " + " | ".join(cells) + " |"


def _name(rule: str) -> str:
    return f"{rule} (ours)" if rule in OURS and rule != OWN else rule


def _ttft(cell: Cell) -> str:
    seconds = cell.result.ttft_ms.mean / 1000
    if cell.result is cell.own:
        return f"{seconds:.2f} ± {cell.result.ttft_ms.se / 1000:.2f}"
    text = f"{seconds:.2f} ({seconds * 1000 / cell.own.ttft_ms.mean:.2f})"
    return f"**{text}**" if _is_faster(cell) else text


def _goodput(cell: Cell) -> str:
    text = f"{cell.result.goodput * 100:.1f}"
    return f"**{text}**" if _is_better(cell) else text


def _beaten(results: Sequence[Result]) -> Iterator[str]:
    """Where another rule is better than Forebay's beyond two standard errors; in bold in the tables, too."""
    own = {(each.gateways, each.load): each for each in results if each.policy == OWN}
    cells = [
        Cell(result=each, own=own[each.gateways, each.load]) for each in results if (each.gateways, each.load) in own
    ]
    others = [cell for cell in cells if cell.result.policy not in OURS]
    yield from _better_of(others, "") or ["No rule of the others is better beyond two standard errors."]
    yield from _better_of([cell for cell in cells if cell.result.policy in OURS], ", by a rule of ours")


def _better_of(cells: Sequence[Cell], whose: str) -> Sequence[str]:
    lines = []
    for what, is_so in (("Lower mean TTFT", _is_faster), ("More goodput", _is_better)):
        found = [cell.result for cell in cells if is_so(cell)]
        if found:
            where = ", ".join(f"{each.policy} (G = {each.gateways}, {each.load:g})" for each in found)
            lines.append(f"{what} beyond two standard errors{whose}: {where}.")
    return lines


def _is_faster(cell: Cell) -> bool:
    return ttft_ratio(cell.result, cell.own).mean < 1 and difference(*_both(cell, lambda seed: seed.ttft_ms)).is_below


def _is_better(cell: Cell) -> bool:
    return difference(*_both(cell, lambda seed: seed.goodput)).is_above


def _both(cell: Cell, figure: Callable[..., float]) -> tuple[list[float], list[float]]:
    return [figure(seed) for seed in cell.result.seeds], [figure(seed) for seed in cell.own.seeds]


def _flat(results: Sequence[Result]) -> Iterator[str]:
    """Mean TTFT at each number of gateways over that at one, seed by seed, with the standard error."""
    gateways = sorted({each.gateways for each in results})
    by_case = {(each.policy, each.load, each.gateways): each for each in results}
    yield "Mean TTFT x that of one gateway, seed by seed ± its standard error."
    yield ""
    yield "| rule | load | G = 1, s | " + " | ".join(f"G = {each}" for each in gateways[1:]) + " |"
    yield "|---" * (len(gateways) + 2) + "|"
    for rule, load in dict.fromkeys((each.policy, each.load) for each in results):
        base = by_case[rule, load, 1]
        ratios = [ttft_ratio(by_case[rule, load, each], base) for each in gateways[1:]]
        shown = " | ".join(f"{each.mean:.3f} ± {each.se:.3f}" for each in ratios)
        yield f"| {rule} | {load:g} | {base.ttft_ms.mean / 1000:.2f} | {shown} |"
