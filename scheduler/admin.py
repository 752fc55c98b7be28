"""What operators ask of the store: what is there, and to drain a rank."""

from __future__ import annotations

import msgspec

from scheduler import draining
from scheduler.breaker import BreakerState, is_coming_back
from scheduler.draining import Selection, pool_names, read_pool
from scheduler.errors import StoreDeniedError, StoreRejectedError
from scheduler.gateway_name import life_and_address
from scheduler.group_admin import read_groups
from scheduler.group_status import GroupStatus, group_status
from scheduler.keys import PoolKeys
from scheduler.messages import RankState, Role, Source
from scheduler.rank_view import RankView
from scheduler.settings import SchedulerSettings
from scheduler.store import Store
from scheduler.view import PoolView


class RankStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One rank, as `forebay status` shows it. Prefill and decode ranks pair only within a `pair_class`.

    `reservations` are those of all gateways; `requests`, `queued_tokens` (prompt tokens to prefill) and `kv_tokens` are
    the loads that placement sees. `report_age_ms` is since the sample was taken. `agent` is its node. `breaker` says
    whether it failed too often of late: "closed", "open" or "half-open", or "starting" where it came back (breaker.py).
    `source` is where the agent has the sample from. `is_group_broken`: nothing is placed on its DP group (groups.py).
    """

    pool: str
    rank: str
    role: Role
    state: RankState
    drained: bool
    dp_group: str
    pair_class: str
    agent: str
    incarnation: str
    report_age_ms: int
    reservations: int
    requests: float
    queued_tokens: float
    kv_tokens: float
    kv_capacity_tokens: int
    prefill_tokens_per_s: float
    breaker: str = "closed"
    source: Source = Source.PAGE
    is_group_broken: bool = False


class GatewayStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One gateway in one pool; `lease_ms` is what is left of its lease."""

    pool: str
    gateway: str
    address: str
    reservations: int
    lease_ms: int


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """Everything in a store, as `forebay status --json` prints it.

    `reservations` is their number over all pools, `unreadable` how many rows and whole pools were left out.
    `dp_groups` are those whose agents start the ranks.
    """

    ranks: list[RankStatus]
    gateways: list[GatewayStatus]
    reservations: int
    unreadable: int
    dp_groups: list[GroupStatus] = []


async def status(store: Store, settings: SchedulerSettings) -> Status:
    """Reads all pools; one that cannot be read at all counts as unreadable.

    Raises StoreUnavailableError, StoreDeniedError where it is the user who may read none of them, or
    StoreRejectedError where not even the pools' names can be read.
    """
    ranks: list[RankStatus] = []
    gateways: list[GatewayStatus] = []
    groups: list[GroupStatus] = []
    unreadable = 0
    denied: list[StoreDeniedError] = []
    names = await pool_names(store)
    for pool in names:
        try:
            view, skipped = await read_pool(store, pool, settings)
            more, unknown = await _gateways(store, pool, view.pool_ms)
            groups += [group_status(pool, group) for group in await read_groups(store, pool, view.pool_ms)]
        except StoreRejectedError as error:
            unreadable += 1  # a key of the wrong type, or another team's; the other pools are shown all the same
            denied += [error] if isinstance(error, StoreDeniedError) else []
            continue
        ranks += [_rank(pool, view, name) for name in sorted(view.ranks)]
        gateways += more
        unreadable += skipped + unknown
    if denied and len(denied) == len(names):
        raise denied[0]
    held = sum(gateway.reservations for gateway in gateways)
    return Status(ranks=ranks, gateways=gateways, reservations=held, unreadable=unreadable, dp_groups=groups)


async def requests_in(store: Store, pool: str) -> int:
    """How many requests are under way in a pool, of all gateways. Raises StoreUnavailableError, StoreRejectedError."""
    gateways, _ = await _gateways(store, pool, 0)
    return sum(gateway.reservations for gateway in gateways)


async def drain(store: Store, rank: str, settings: SchedulerSettings, *, undo: bool = False) -> str:
    """No gateway places on the rank from now on (or again, with `undo`), as draining.py does; returns its pool."""
    return (await draining.drain(store, Selection(rank=rank), settings, undo=undo))[0].pool


def _rank(pool: str, view: PoolView, name: str) -> RankStatus:
    rank, pool_ms = view.ranks[name], view.pool_ms
    card, seen, loads = rank.card, rank.seen, rank.loads(pool_ms)
    return RankStatus(
        pool=pool,
        rank=card.rank,
        role=card.role,
        state=seen.state,
        drained=seen.drained,
        dp_group=card.dp_group,
        pair_class=rank.card.pair_class,
        agent=seen.owner.rpartition("/")[0],
        incarnation=card.incarnation,
        report_age_ms=pool_ms - seen.sampled_ms,
        reservations=rank.book.requests,
        requests=loads.requests,
        queued_tokens=loads.queued_tokens,
        kv_tokens=loads.kv_tokens,
        kv_capacity_tokens=card.kv_capacity_tokens,
        prefill_tokens_per_s=seen.prefill_tokens_per_s,
        breaker=_breaker(rank, pool_ms),
        source=seen.source,
        is_group_broken=card.dp_group in view.broken_groups,
    )


def _breaker(rank: RankView, pool_ms: int) -> str:
    breaker = rank.breaker
    if breaker is None:
        return BreakerState.CLOSED.value
    state = breaker.state(pool_ms)
    is_back = state is BreakerState.CLOSED and rank.seen.state is RankState.UP
    return "starting" if is_back and is_coming_back(breaker, pool_ms) else state.value


async def _gateways(store: Store, pool: str, pool_ms: int) -> tuple[list[GatewayStatus], int]:
    keys = PoolKeys(pool)
    found, skipped = [], 0
    cells = iter(await store.command("HGETALL", keys.gate))
    for raw_name, row in zip(cells, cells, strict=True):
        name = raw_name.decode(errors="replace")
        life, address = life_and_address(name)
        ends = await store.command("ZSCORE", keys.lease, raw_name)
        try:
            number, count, _ = map(int, row.split())
            ends_ms = int(float(ends or 0))
        except (ValueError, OverflowError):
            skipped += 1
            continue
        if number >= 0:
            lease_ms = max(0, ends_ms - pool_ms)
            found.append(GatewayStatus(pool=pool, gateway=life, address=address, reservations=count, lease_ms=lease_ms))
    return found, skipped
