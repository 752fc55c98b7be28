"""Pools that have a name and no ranks: looked at a few at a time, so that however many there are cost little.

A name outlives its ranks, for an agent that ends need not be the pool's last.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from collections.abc import Set as AbstractSet
from itertools import islice

from scheduler.errors import StoreRejectedError, StoreUnavailableError
from scheduler.keys import PoolKeys
from scheduler.store import Store

LOOKS = 50
"""How many vacant pools are looked at in one round."""
AT_ONCE = 8
"""Looks that are on their way together: the first round looks at all names."""


class VacantPools:
    """The names that were found without ranks, the one looked at longest ago first."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._vacant: dict[str, None] = {}

    async def occupied(self, names: AbstractSet[str]) -> AsyncIterator[str]:
        """One round: those of these names that have ranks, as far as they are new or it is their turn.

        What is not named any more is forgotten. Raises StoreUnavailableError; the name that it was about waits for its
        next turn, for in a cluster a node may be away that has no other pool's keys.
        """
        self._vacant = {name: None for name in self._vacant if name in names}
        turn = list(islice(self._vacant, LOOKS))
        names_due = [*sorted(names - self._vacant.keys()), *turn]
        for first in range(0, len(names_due), AT_ONCE):
            group = names_due[first : first + AT_ONCE]
            async with asyncio.TaskGroup() as tasks:
                looks = [tasks.create_task(_look(self._store, name), name=f"look at {name}") for name in group]
            found = dict(zip(group, (look.result() for look in looks), strict=True))
            for name in group:
                self._vacant.pop(name, None)
                self._vacant[name] = None  # at the end
            for name in [name for name, answer in found.items() if answer is True]:
                del self._vacant[name]
                yield name
            for error in found.values():
                if isinstance(error, StoreUnavailableError):
                    raise error


async def _look(store: Store, pool: str) -> bool | StoreUnavailableError:
    try:
        return await has_ranks(store, pool)
    except StoreUnavailableError as error:
        return error


async def has_ranks(store: Store, pool: str) -> bool:
    """Whether anything was heard of a rank of the pool; also where that cannot be read, for whoever serves it to mend.

    Raises StoreUnavailableError.
    """
    try:
        return bool(await store.command("HLEN", PoolKeys(pool).seen))
    except StoreRejectedError:
        return True
