"""All that a preflight found: what is printed, and given to programs. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import msgspec
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from forebay.preflight.finding import Finding, Level, worst
from forebay.printable import cell

SIGNS: Mapping[Level, tuple[str, str]] = {
    Level.OK: ("ok", "green"),
    Level.UNSEEN: ("?", "dim"),
    Level.WARN: ("warn", "yellow"),
    Level.BAD: ("BAD", "bold red"),
}


class Cell(msgspec.Struct, frozen=True):
    """One prefill and one decode rank, and what is wrong between them; `pool` is '' for ranks that were named."""

    prefill: str
    decode: str
    findings: tuple[Finding, ...]
    pool: str = ""

    @property
    def level(self) -> Level:
        """The worst of it."""
        return worst([finding.level for finding in self.findings])


class Report(msgspec.Struct, frozen=True):
    """`findings` of nodes, ranks and the store; `matrix` has a cell for each prefill and decode rank."""

    findings: tuple[Finding, ...]
    matrix: tuple[Cell, ...] = ()

    @property
    def is_good(self) -> bool:
        """Whether nothing keeps ranks from serving."""
        levels = [finding.level for finding in self.findings] + [cell.level for cell in self.matrix]
        return worst(levels) is not Level.BAD


def tables(report: Report) -> Iterator[RenderableType]:
    """The findings, the matrix, and for each cell that is not well what to change."""
    yield _findings(report.findings)
    for pool in dict.fromkeys(each.pool for each in report.matrix):
        yield _matrix(pool, [each for each in report.matrix if each.pool == pool])
    if report.matrix:
        if ill := [finding for cell in report.matrix for finding in cell.findings if finding.level is not Level.UNSEEN]:
            yield _findings(ill)
        unseen = {
            finding.change for cell in report.matrix for finding in cell.findings if finding.level is Level.UNSEEN
        }
        if changes := sorted(unseen - {""}):
            yield f"not seen from this node: {'; '.join(changes)}"


def _findings(findings: Sequence[Finding]) -> Table:
    table = Table(show_edge=False)
    for name in ("", "where", "what", "change"):
        table.add_column(name, overflow="fold")
    for finding in findings:
        sign, style = SIGNS[finding.level]
        table.add_row(Text(sign, style), cell(finding.where), cell(finding.what), cell(finding.change))
    return table


def _matrix(pool: str, cells: Sequence[Cell]) -> Table:
    """Those of one pool: prefill ranks down, decode ranks across."""
    decodes = list(dict.fromkeys(each.decode for each in cells))
    title = "prefill ranks (rows) and decode ranks (columns)"
    table = Table(title=title, caption=cell(pool and f"pool {pool}"), show_edge=False)
    table.add_column("")
    for decode in decodes:
        table.add_column(cell(decode), overflow="fold")
    rows: dict[str, dict[str, Level]] = {}
    for each in cells:
        rows.setdefault(each.prefill, {})[each.decode] = each.level
    for prefill, levels in rows.items():
        table.add_row(cell(prefill), *(Text(*SIGNS[levels[decode]]) for decode in decodes))
    return table
