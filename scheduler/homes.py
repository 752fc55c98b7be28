"""Where responses are kept that their clients may ask for later: in the memory of the rank that made them.

A response of the Responses API has an id and no model, so this stands outside of the pools' ledgers. An entry takes
some 250 bytes of Redis and goes when its time is over.
"""

from __future__ import annotations

import msgspec

from scheduler.errors import StoreRejectedError
from scheduler.keys import PoolKeys, response_home
from scheduler.store import Store


class Home(msgspec.Struct, frozen=True, array_like=True):
    """A rank, in the life in which it has the response in its memory."""

    pool: str
    rank: str
    incarnation: str


DECODER = msgspec.json.Decoder(Home)


class Homes:
    """The homes in one store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def keep(self, response: str, home: Home, ttl_s: int) -> None:
        """Remember for so many seconds where a response is. Raises StoreUnavailableError, StoreRejectedError."""
        await self._store.command("SET", response_home(response), msgspec.json.encode(home), "EX", ttl_s)

    async def find(self, response: str) -> Home | None:
        """Where a response is; None if that is not known. Raises StoreUnavailableError, StoreRejectedError."""
        found = await self._store.command("GET", response_home(response))
        if found is None:
            return None
        try:
            return DECODER.decode(found)
        except msgspec.DecodeError as error:
            raise StoreRejectedError(f"{response_home(response)} holds what nobody here wrote") from error

    async def is_drained(self, home: Home) -> bool:
        """Whether an operator has drained the rank, whether it is still in its pool or not; what is no count says no.

        Raises StoreUnavailableError, StoreRejectedError.
        """
        count: bytes | None = await self._store.command("HGET", PoolKeys(home.pool).drain, home.rank)
        return count is not None and count.isdigit() and int(count) % 2 == 1
