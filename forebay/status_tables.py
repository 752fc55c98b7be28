"""The status as tables for a terminal. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import RenderableType
from rich.markup import escape
from rich.table import Table

from scheduler.admin import GatewayStatus, RankStatus, Status


def tables(status: Status) -> Iterator[RenderableType]:
    """Ranks, gateways, and the sums in one line; `held` counts reservations."""
    yield _ranks(status.ranks)
    yield _gateways(status.gateways)
    unreadable = f", {status.unreadable} unreadable values" if status.unreadable else ""
    yield f"{len(status.ranks)} ranks, {len(status.gateways)} gateways, {status.reservations} reservations{unreadable}"


def _ranks(ranks: list[RankStatus]) -> Table:
    table = _table("pool", "rank", "role", "state", "agent")
    for name in ("age ms", "held", "requests", "queued tok", "KV tok", "KV", "prefill tok/s"):
        table.add_column(name, justify="right", no_wrap=True)
    for rank in ranks:
        table.add_row(
            *map(escape, (rank.pool, rank.rank, rank.role)),
            "drained" if rank.drained else rank.state,
            escape(rank.agent),
            *map(str, (rank.report_age_ms, rank.reservations)),
            *(f"{load:,.0f}" for load in (rank.requests, rank.queued_tokens, rank.kv_tokens)),
            f"{rank.kv_tokens / rank.kv_capacity_tokens:.0%}" if rank.kv_capacity_tokens else "",
            f"{rank.prefill_tokens_per_s:,.0f}",
        )
    return table


def _gateways(gateways: list[GatewayStatus]) -> Table:
    table = _table("pool", "gateway", "address")
    for name in ("held", "lease ms"):
        table.add_column(name, justify="right", no_wrap=True)
    for gateway in gateways:
        names = map(escape, (gateway.pool, gateway.gateway, gateway.address))
        table.add_row(*names, str(gateway.reservations), str(gateway.lease_ms))
    return table


def _table(*names: str) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in names:
        table.add_column(name, no_wrap=True)
    return table
