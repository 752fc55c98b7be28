"""Where a gateway has its clients' keys from, beside its command line: a file, Redis, or both."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from gateway.api_key_file import ApiKeyFile
from gateway.api_keys_in_redis import ApiKeysInRedis
from gateway.settings import GatewaySettings
from scheduler.api_key_store import ApiKeyStore
from scheduler.store import Store

if TYPE_CHECKING:
    from gateway.gateway import Gateway

FILE, REDIS = "file", "redis"


def named(settings: GatewaySettings) -> list[str]:
    """The sources that there are; the first that has a key says what it may."""
    return [source for source, is_there in ((FILE, settings.api_keys), (REDIS, settings.redis_keys)) if is_there]


Run = Callable[[], Coroutine[Any, Any, None]]


def opened(gateway: Gateway, store: Store) -> Iterator[tuple[str, Run]]:
    """What keeps a gateway's keys and their limits, by name, to be run for as long as it is. Raises ApiKeyFileError."""
    settings, ring = gateway.settings, gateway.keys
    if named(settings):
        yield "limits", gateway.limits.run
    if settings.api_keys:
        file = ApiKeyFile(settings.api_keys, partial(ring.replace, FILE))
        file.open()
        yield "key file", file.run
    if settings.redis_keys:
        yield "keys in Redis", ApiKeysInRedis(ApiKeyStore(store), partial(ring.replace, REDIS)).run
