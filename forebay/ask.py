"""One question to the store: opens it, asks, closes it, and tells the user what went wrong."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio
import click

from forebay.settings import StoreSettings
from scheduler.errors import SchedulerError, StoreUrlError
from scheduler.settings import SchedulerSettings
from scheduler.store import Store, open_store
from scheduler.store_files import with_files
from scheduler.store_url import parse_store_url

Answer = TypeVar("Answer")


def check_store_url(url: str) -> None:
    """Raise click.UsageError for a URL that is no store's, or that names files which cannot be read."""
    try:
        with_files(parse_store_url(url))
    except StoreUrlError as error:
        raise click.UsageError(str(error)) from error


def ask_store(settings: StoreSettings, question: Callable[[Store, SchedulerSettings], Awaitable[Answer]]) -> Answer:
    """The answer to `question`. Raises click.ClickException: exit code 2 for a bad URL, 1 for the rest."""

    async def ask() -> Answer:
        async with open_store(settings.redis) as store:
            return await question(store, SchedulerSettings())

    try:
        return anyio.run(ask)
    except StoreUrlError as error:
        raise click.UsageError(str(error)) from error
    except SchedulerError as error:
        raise click.ClickException(str(error)) from error
