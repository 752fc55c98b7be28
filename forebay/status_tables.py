"""The status as tables for a terminal. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from forebay.printable import cell, printable
from scheduler.admin import GatewayStatus, RankStatus, Status
from scheduler.group_status import GroupStatus
from scheduler.messages import RankState, Role
from scheduler.unpaired import unpaired

SILENT_MS = 10_000
"""From this age on what an agent read of a rank counts for nothing (scripts/loads.lua)."""

RANK_LEGEND = {
    "state": "drained: finishes what it has; stalled: takes connections, gets no further; "
    f"silent: not read for over {SILENT_MS // 1000} s",
    "agent": "the node whose agent reports the rank",
    "source": "push: its stat logger tells of each step; page: its /metrics is read",
    "age ms": "since the engine last told its load, or was read",
    "placed": "requests that gateways have on it now",
    "requests": "those, and what came to it in other ways",
    "to prefill": "prompt tokens it has still to compute",
    "KV tokens": "in its KV cache now, or reserved there",
    "KV": "the same as a share of its capacity",
    "tokens/s": "prompt tokens it computes a second",
    "breaker": "open: failed too often, so left out; half-open: one request tries it; starting: back, and gets more by "
    "and by",
}
GATEWAY_LEGEND = {
    "placed": "requests it has on ranks now",
    "lease ms": "what is left until it counts as dead, unless it renews",
}
GROUP_LEGEND = {
    "generation": "how often its ranks were started together, on all nodes",
    "phase": "stopping: no rank is started before all agents have stopped theirs; down: it failed too often, until "
    "forebay restart",
    "failures": "in the last hour",
}


def tables(status: Status) -> Iterator[RenderableType]:
    """Ranks, gateways, what their columns mean, and the sums in one line."""
    yield _ranks(status.ranks)
    yield _legend(RANK_LEGEND)
    yield from _unpaired(status.ranks)
    yield from _left_out(status.ranks)
    yield _gateways(status.gateways)
    yield _legend(GATEWAY_LEGEND)
    if status.dp_groups:
        yield _groups(status.dp_groups)
        yield _legend(GROUP_LEGEND)
        yield from _awaited(status.dp_groups)
    unreadable = f", {_counted(status.unreadable, 'unreadable value')}" if status.unreadable else ""
    # A gateway has a row for each pool.
    gateways = _counted(len({(gateway.gateway, gateway.address) for gateway in status.gateways}), "gateway")
    placed = f"{_counted(status.reservations, 'request')} placed"
    yield f"{_counted(len(status.ranks), 'rank')}, {gateways}, {placed}{unreadable}"


def _ranks(ranks: list[RankStatus]) -> Table:
    table = _table("pool", "rank", "role", "state", "agent", "source")
    for name in ("age ms", "placed", "requests", "to prefill", "KV tokens", "KV", "tokens/s"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("breaker", no_wrap=True)
    for rank in ranks:
        table.add_row(
            *map(cell, (rank.pool, rank.rank, rank.role)),
            _state(rank),
            cell(rank.agent),
            cell(rank.source),
            *(f"{number:,}" for number in (rank.report_age_ms, rank.reservations)),
            *(f"{load:,.0f}" for load in (rank.requests, rank.queued_tokens, rank.kv_tokens)),
            f"{rank.kv_tokens / rank.kv_capacity_tokens:.0%}" if rank.kv_capacity_tokens else "",
            f"{rank.prefill_tokens_per_s:,.0f}",
            cell(rank.breaker),
        )
    return table


def _unpaired(ranks: list[RankStatus]) -> Iterator[Text]:
    """A line for each class of ranks that nothing pairs with."""
    for pool in sorted({rank.pool for rank in ranks}):
        prefills, decodes = (
            {rank.pair_class for rank in ranks if (rank.pool, rank.role) == (pool, role)}
            for role in (Role.PREFILL, Role.DECODE)
        )
        for words in unpaired(pool, prefills, decodes):
            yield Text(printable(f"{words}\n"), style="yellow")


def _left_out(ranks: list[RankStatus]) -> Iterator[Text]:
    """A line for each DP group that gets nothing, and because of whom: its other ranks look well."""
    broken = [rank for rank in ranks if rank.is_group_broken]
    for pool, group in sorted({(rank.pool, rank.dp_group) for rank in broken}):
        members = [rank for rank in broken if (rank.pool, rank.dp_group) == (pool, group)]
        why = [f"{rank.rank} is {_state(rank)}" for rank in members if rank.drained or rank.state is not RankState.UP]
        words = f"DP group {group} of {pool}, {_counted(len(members), 'rank')}, gets nothing: {', '.join(why)}\n"
        yield Text(printable(words), style="yellow")


def _groups(groups: list[GroupStatus]) -> Table:
    table = _table("pool", "DP group", "phase")
    for name in ("generation", "ranks", "nodes", "failures"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("the generation before ended as", no_wrap=True)
    for group in groups:
        numbers = (group.generation, group.size, len(group.members), group.failures)
        names = map(cell, (group.pool, group.dp_group, group.phase))
        table.add_row(*names, *(f"{number:,}" for number in numbers), cell(group.why))
    return table


def _awaited(groups: list[GroupStatus]) -> Iterator[Text]:
    """A line for each group that waits, and for whom."""
    for group in groups:
        if group.awaited:
            words = f"DP group {group.dp_group} of {group.pool} waits for {'; '.join(group.awaited)}\n"
            yield Text(printable(words), style="yellow")


def _state(rank: RankStatus) -> str:
    state = "drained" if rank.drained else rank.state.value
    # Of a rank that is down nothing is read while its agent is well.
    is_silent = rank.report_age_ms > SILENT_MS and rank.state in {RankState.UP, RankState.STALLED}
    return f"{state} (silent)" if is_silent else state


def _counted(number: int, thing: str) -> str:
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def _gateways(gateways: list[GatewayStatus]) -> Table:
    table = _table("pool", "gateway", "address")
    for name in ("placed", "lease ms"):
        table.add_column(name, justify="right", no_wrap=True)
    for gateway in gateways:
        names = map(cell, (gateway.pool, gateway.gateway, gateway.address))
        table.add_row(*names, f"{gateway.reservations:,}", f"{gateway.lease_ms:,}")
    return table


def _legend(meanings: Mapping[str, str]) -> Text:
    return Text("".join(f"  {name}: {meaning}\n" for name, meaning in meanings.items()), style="dim")


def _table(*names: str) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in names:
        table.add_column(name, no_wrap=True)
    return table
