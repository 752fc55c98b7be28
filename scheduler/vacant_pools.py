"""Pools that have a name and no ranks: looked at a few at a time, so that however many there are cost little.

A name outlives its ranks, for an agent that ends need not be the pool's last.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from itertools import islice

from scheduler.errors import StoreWrongTypeError
from scheduler.keys import PoolKeys
from scheduler.store import Store

LOOKS = 50
"""How many vacant pools are looked at in one round."""


class VacantPools:
    """The names that were found without ranks, the one looked at longest ago first."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._vacant: dict[str, None] = {}

    async def occupied(self, names: Collection[str]) -> AsyncIterator[str]:
        """One round: those of these names that have ranks, as far as they are new or it is their turn.

        What is not named any more is forgotten. Raises StoreUnavailableError or StoreRejectedError.
        """
        self._vacant = {name: None for name in self._vacant if name in names}
        turn = list(islice(self._vacant, LOOKS))
        for name in [*turn, *(name for name in names if name not in self._vacant)]:
            self._vacant.pop(name, None)
            if await has_ranks(self._store, name):
                yield name
            else:
                self._vacant[name] = None


async def has_ranks(store: Store, pool: str) -> bool:
    """Whether anything was heard of a rank of the pool; also where that cannot be read, for whoever serves it to mend.

    Raises StoreUnavailableError or StoreRejectedError.
    """
    try:
        return bool(await store.command("HLEN", PoolKeys(pool).seen))
    except StoreWrongTypeError:
        return True
