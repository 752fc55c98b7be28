"""Which ranks the store knows, and where their cards say that they listen."""

from __future__ import annotations

from typing import NamedTuple

from agent.errors import TargetError
from agent.targets import Target, parse_targets
from forebay.preflight.finding import Finding, Level
from forebay.preflight.rank_facts import Named
from scheduler.draining import pool_names, read_pool
from scheduler.errors import SchedulerError, StoreRejectedError
from scheduler.keys import PoolKeys
from scheduler.messages import RankCard, RankState
from scheduler.settings import SchedulerSettings
from scheduler.store import Store

ANEW = "start its agent anew, of this release and with HOST:PORT in --ranks"


class KnownRanks(NamedTuple):
    """Those that can be asked, each port once, and what is wrong with the others."""

    ranks: list[Named]
    findings: list[Finding]


async def known_ranks(store: Store) -> KnownRanks:
    """Those of all pools; a store or a pool that does not tell them is a finding."""
    known: dict[Target, Named] = {}
    findings: list[Finding] = []
    try:
        for pool in await pool_names(store):
            findings += await _read(store, pool, known)
    except SchedulerError as error:
        told = f"the store does not tell them: {error}"
        findings.append(Finding(Level.BAD, "ranks", told, "--redis, or name them by --prefill-ranks and the like"))
    return KnownRanks(list(known.values()), findings)


async def _read(store: Store, pool: str, known: dict[Target, Named]) -> list[Finding]:
    """Add the ranks of one pool to `known`; what is wrong with the others. Raises StoreUnavailableError."""
    try:
        cards, unread = await _cards(store, pool)
    except StoreRejectedError as error:
        return [Finding(Level.BAD, f"pool {pool}", f"cannot be read: {error}", "its keys, or the user in --redis")]
    told = f"pool {pool} has nothing of it that can be read"
    findings = [Finding(Level.BAD, name, told, ANEW) for name in unread]
    for card in cards:
        try:
            targets = parse_targets(card.endpoint)
        except TargetError as error:
            findings.append(Finding(Level.BAD, card.rank, f"pool {pool} has it at no place to ask: {error}", ANEW))
        else:
            known |= {target: Named(target, card.role, card.connector, pool, card.kv) for target in targets}
    return findings


async def _cards(store: Store, pool: str) -> tuple[list[RankCard], list[str]]:
    """Of the ranks that are not gone, and the names of those whose rows cannot be read."""
    view, skipped = await read_pool(store, pool, SchedulerSettings())
    cards = [rank.card for rank in view.ranks.values() if rank.seen.state is not RankState.GONE]
    if not skipped:
        return cards, []
    names = {name.decode(errors="replace") for name in await store.command("HKEYS", PoolKeys(pool).seen)}
    return cards, sorted(names - view.ranks.keys())
