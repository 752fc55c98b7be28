"""Whether the shared store suits the ledger: how far it is, its version and its policy."""

from __future__ import annotations

import time
from statistics import median

from forebay.preflight.finding import Finding, Level
from scheduler.errors import SchedulerError, StoreRejectedError
from scheduler.store import Store

PINGS = 20
FAR_MS = 5.0
"""A request waits for one round trip, or two, before it is placed; and `place` has a deadline of 50 ms."""
OLDEST = (6, 2)
GOOD_POLICIES = ("noeviction", "volatile-")
"""The ledger's keys never expire, so `volatile-*` spares them."""


async def redis_findings(store: Store) -> list[Finding]:
    """How far Redis is, whether it is new enough and may lose the ledger. A store that is away is one finding."""
    try:
        return [await _distance(store), await _version(store), await _policy(store)]
    except SchedulerError as error:
        return [Finding(Level.BAD, "Redis", str(error), "--redis, or start it")]


async def _distance(store: Store) -> Finding:
    took_ms = []
    await store.command("PING")  # connects, which requests do not wait for
    for _ in range(PINGS):
        began_s = time.perf_counter()
        await store.command("PING")
        took_ms.append(1000 * (time.perf_counter() - began_s))
    told = f"answers in {median(took_ms):.2f} ms (median of {PINGS}), {max(took_ms):.2f} ms at most"
    if median(took_ms) > FAR_MS:
        return Finding(Level.WARN, "Redis", told, "--redis of one nearer, or another network")
    return Finding(Level.OK, "Redis", told)


async def _version(store: Store) -> Finding:
    try:
        told = await store.command("INFO", "server")
    except StoreRejectedError as error:
        return Finding(Level.UNSEEN, "Redis version", str(error))
    version = str(dict(zip(told[::2], told[1::2], strict=False)).get("redis_version", ""))
    parts = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    if parts and parts < OLDEST:
        return Finding(Level.BAD, "Redis version", f"{version} is older than 6.2", "upgrade it")
    return Finding(Level.OK, "Redis version", version or "not told")


async def _policy(store: Store) -> Finding:
    try:
        told = await store.command("CONFIG", "GET", "maxmemory-policy")
    except StoreRejectedError as error:
        return Finding(Level.UNSEEN, "Redis policy", str(error))
    policy = told[1].decode() if len(told) > 1 else ""
    if policy and not policy.startswith(GOOD_POLICIES):
        change = "CONFIG SET maxmemory-policy volatile-ttl"
        return Finding(Level.BAD, "Redis policy", f"maxmemory-policy {policy} may lose the ledger", change)
    return Finding(Level.OK, "Redis policy", policy or "not told")
