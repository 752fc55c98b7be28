"""Operators look at DP groups, and have them restarted."""

from __future__ import annotations

from random import Random

from scheduler import calls
from scheduler.draining import pool_names
from scheduler.errors import StoreRejectedError, StoreUnavailableError, UnknownGroupError
from scheduler.group_generation import Cause, Group
from scheduler.group_member import TRIES, new_mark
from scheduler.group_rows import read_group
from scheduler.keys import PoolKeys
from scheduler.opening import open_epoch
from scheduler.settings import SchedulerSettings
from scheduler.store import Store


async def read_groups(store: Store, pool: str, pool_ms: int) -> list[Group]:
    """The groups of a pool whose agents start the ranks, by name. Raises StoreUnavailableError, StoreRejectedError."""
    cells = iter(await store.command("HGETALL", PoolKeys(pool).dp))
    found = [read_group(name.decode(errors="replace"), row, pool_ms) for name, row in zip(cells, cells, strict=True)]
    return sorted(found, key=lambda group: group.name)


async def restart(store: Store, name: str, settings: SchedulerSettings) -> list[tuple[str, Group]]:
    """Ends the generation of the DP groups of this name; what failed before is forgotten. Returns pools and groups.

    Raises UnknownGroupError naming what there is, StoreUnavailableError, or StoreRejectedError where no pool can be
    read.
    """
    known: set[str] = set()
    ended: list[tuple[str, Group]] = []
    unreadable: list[StoreRejectedError] = []
    for pool in await pool_names(store):
        try:
            groups = await read_groups(store, pool, 0)
        except StoreRejectedError as error:
            unreadable.append(error)
            continue
        known |= {group.name for group in groups}
        ended += [(pool, await end_generation(store, pool, group, settings)) for group in groups if group.name == name]
    if not ended and not known and unreadable:
        raise unreadable[0]
    if not ended:
        raise UnknownGroupError(
            f"no DP group {name!r} of several nodes whose agents start its ranks; there are: "
            f"{', '.join(sorted(known)) or 'none'}"
        )
    return ended


async def end_generation(store: Store, pool: str, group: Group, settings: SchedulerSettings) -> Group:
    """Ends the generation of `group` as it was read, if it is still that one; what failed before is forgotten.

    Raises StoreUnavailableError or StoreRejectedError.
    """
    keys, rng = PoolKeys(pool), Random()
    why = (Cause.ASKED.value, "an operator asked for it")
    for _ in range(TRIES):
        epoch = await open_epoch(store, keys, rng)
        head = (epoch, settings.lease_ms, group.name, new_mark(rng))
        (reply,) = await store.run([calls.dp_group(keys, head, group.generation, why)])
        if reply[0] == b"ok":
            return read_group(group.name, reply[2], reply[1])
    raise StoreUnavailableError("the pool's epoch changed again and again")
