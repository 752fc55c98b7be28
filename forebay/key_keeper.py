"""The API keys that `forebay key` writes, wherever they are: a file or Redis."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import click
from click.core import ParameterSource

from forebay.ask import ask_store
from forebay.key_file_edits import KeyFileEdits
from forebay.settings import KeyStoreSettings, StoreSettings
from scheduler.api_key_store import ApiKeyStore
from scheduler.api_keys import ApiKey
from scheduler.store import Store

Change = Callable[[ApiKey], ApiKey]


class Keeper(Protocol):
    """Each raises click.ClickException: where a name is taken or unknown, and for what cannot be read or written."""

    def all(self) -> tuple[Sequence[ApiKey], Mapping[str, str]]:
        """The keys by name, and what else is written there, with why it is none."""

    def add(self, key: ApiKey) -> None:
        """One more."""

    def change(self, name: str, changed: Change) -> None:
        """Another in the place of one."""

    def remove(self, name: str) -> None:
        """One less."""


def keeper_of(settings: KeyStoreSettings) -> Keeper:
    """The file where one is named, else Redis. Raises click.UsageError where the command line names both."""
    if not settings.keys:
        return _InRedis(StoreSettings(redis=settings.redis))
    if settings.redis:
        source = click.get_current_context().get_parameter_source("redis")
        if source is ParameterSource.COMMANDLINE:
            raise click.UsageError("--keys and --redis: keys are in the file or in Redis; name one of them")
    return KeyFileEdits(settings.keys)


class _InRedis:
    def __init__(self, settings: StoreSettings) -> None:
        self._settings = settings

    def all(self) -> tuple[Sequence[ApiKey], Mapping[str, str]]:
        read = ask_store(self._settings, lambda store, _: ApiKeyStore(store).read())
        return (read.keys, read.bad) if read else ((), {})

    def add(self, key: ApiKey) -> None:
        ask_store(self._settings, lambda store, _: ApiKeyStore(store).add(key))

    def change(self, name: str, changed: Change) -> None:
        async def change(store: Store, _: object) -> None:
            keys = ApiKeyStore(store)
            key, row = await keys.find(name)
            await keys.change(changed(key), row)

        ask_store(self._settings, change)

    def remove(self, name: str) -> None:
        ask_store(self._settings, lambda store, _: ApiKeyStore(store).remove(name))
