"""API keys in Redis, as a snapshot: read again each second where they have changed, and never on a request's way."""

from __future__ import annotations

import logging
from collections.abc import Callable

import anyio

from gateway.api_key_file import KeysByDigest
from scheduler.api_key_store import ApiKeyStore, Keys
from scheduler.api_keys import ApiKey
from scheduler.errors import StoreRejectedError, StoreUnavailableError

LOOK_S = 1.0
"""With what an exchange may take at most a key that was revoked is refused within two seconds."""

log = logging.getLogger(__name__)


class ApiKeysInRedis:
    """The keys of a store. `use` is given those of each version; nothing is given while the store is gone."""

    def __init__(self, store: ApiKeyStore, use: Callable[[KeysByDigest], None]) -> None:
        self._store = store
        self._use = use
        self._version: bytes | None = None
        self._complaints: frozenset[str] = frozenset()

    async def run(self) -> None:
        """Read them whenever they have changed."""
        while True:
            try:
                read = await self._store.read(self._version or b"")
            except (StoreUnavailableError, StoreRejectedError) as error:
                self._complain(f"the API keys in Redis cannot be read: {error}")
            else:
                self._take(read)
            await anyio.sleep(LOOK_S)

    def _take(self, read: Keys | None) -> None:
        if read is None:
            self._complain()
            return
        if not read.version and self._version:
            # It has begun anew, for to remove the last key is a version too. Nobody said that nobody is to be let in.
            self._complain("Redis has lost the API keys; those that were read before are kept")
            return
        found: dict[bytes, ApiKey] = {}
        bad = dict(read.bad)
        for key in read.keys:
            if found.setdefault(bytes.fromhex(key.sha256), key) is not key:
                bad[key.name] = "the key has another name too"
        self._complain(*(f"no API key in Redis: {name!r}: {why}" for name, why in bad.items()))
        if self._version != read.version:
            log.info("%d API keys read from Redis", len(found))
            self._version = read.version
            self._use(found)

    def _complain(self, *complaints: str) -> None:
        """Of each thing once, until it is over."""
        before, self._complaints = self._complaints, frozenset(complaints)
        for complaint in sorted(self._complaints - before):
            log.warning(complaint)
