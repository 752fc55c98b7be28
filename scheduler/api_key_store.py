"""The API keys in Redis: operators write them, gateways read all of them whenever they have changed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from secrets import token_hex
from typing import NamedTuple

from scheduler import limit_calls
from scheduler.api_keys import ApiKey, decode, encode
from scheduler.errors import ApiKeyNameError, BadApiKeyError
from scheduler.keys import API_KEYS
from scheduler.store import Store

TRIES = 3
AT_ONCE = 200
"""Rows, of some 15 us each, that are decoded before all others get a turn: thousands would hold requests up for longer
than a placement may take."""
TURN_S = 0.001
"""A pause of no length would let no socket be read."""


class Keys(NamedTuple):
    """What was read: the version, empty where the store has never had keys; and which rows are none, by name."""

    version: bytes
    keys: tuple[ApiKey, ...]
    bad: dict[str, str]


class ApiKeyStore:
    """The keys of one store. All methods raise StoreUnavailableError and StoreRejectedError."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def read(self, known: bytes = b"") -> Keys | None:
        """All keys; None where the version is still the `known` one."""
        (reply,) = await self._store.run([limit_calls.api_keys_read(known)])
        version, *cells = reply
        if version == known and not cells:
            return None if known else Keys(b"", (), {})
        keys: list[ApiKey] = []
        bad: dict[str, str] = {}
        for number, (name, row) in enumerate(_pairs(cells)):
            if number % AT_ONCE == AT_ONCE - 1:
                await asyncio.sleep(TURN_S)
            try:
                keys.append(_key(name, row))
            except BadApiKeyError as error:
                bad[name] = str(error)
        return Keys(version, tuple(sorted(keys, key=lambda key: key.name)), bad)

    async def find(self, name: str) -> tuple[ApiKey, bytes]:
        """A key, and its row as it is written. Raises ApiKeyNameError, BadApiKeyError."""
        row: bytes | None = await self._store.command("HGET", API_KEYS, name)
        if row is None:
            raise ApiKeyNameError(f"there is no key called {name!r}")
        return _key(name, row), row

    async def add(self, key: ApiKey) -> None:
        """Write a new key. Raises ApiKeyNameError where there is one of its name."""
        if not await self._put(key.name, b"", encode(key)):
            raise ApiKeyNameError(f"there is a key called {key.name!r}")

    async def change(self, key: ApiKey, row: bytes) -> None:
        """Write a key in place of the row that was found. Raises ApiKeyNameError where it is another one by now."""
        if not await self._put(key.name, row, encode(key)):
            raise ApiKeyNameError(f"the key called {key.name!r} was changed by somebody else meanwhile")

    async def remove(self, name: str) -> None:
        """Remove a key, whatever is written of it. Raises ApiKeyNameError where there is none."""
        for _ in range(TRIES):
            row: bytes | None = await self._store.command("HGET", API_KEYS, name)
            if row is None:
                raise ApiKeyNameError(f"there is no key called {name!r}")
            if await self._put(name, row, b""):
                return
        raise ApiKeyNameError(f"the key called {name!r} is being changed by somebody else; it is still there")

    async def _put(self, name: str, read: bytes, row: bytes) -> bool:
        (reply,) = await self._store.run([limit_calls.api_key_put(name, read, row, token_hex(8))])
        return bool(reply[0] == b"ok")


def _key(name: str, row: bytes) -> ApiKey:
    key = decode(row)
    if key.name != name:
        raise BadApiKeyError(f"it says that it is called {key.name!r}")
    return key


def _pairs(cells: list[bytes]) -> Iterator[tuple[str, bytes]]:
    parts = iter(cells)
    return ((name.decode(errors="replace"), row) for name, row in zip(parts, parts, strict=True))
