"""`forebay drain`: take ranks out of placement, and wait until they are empty."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import anyio
import click
from rich.console import Console
from rich.text import Text

from forebay.ask import ask_store
from forebay.options import settings_options
from forebay.selection_options import selection_options
from forebay.settings import DrainSettings
from scheduler.draining import PooledRank, Selection, drain
from scheduler.emptying import Emptying, Left
from scheduler.errors import StoreUnavailableError
from scheduler.settings import SchedulerSettings
from scheduler.store import Store

LOOK_S = 0.25
NOT_EMPTY = 3
"""The exit code where the time was over before the ranks were empty."""


@click.command("drain")
@selection_options
@settings_options(DrainSettings)
def command(settings: DrainSettings, selection: Selection) -> None:
    """Place nothing more on RANK (a name as in `forebay status`), or on all ranks of a DP group or node.

    What they have, they finish.
    """

    async def run(store: Store, scheduler: SchedulerSettings) -> Sequence[Left]:
        drained = await drain(store, selection, scheduler)
        for pool, rank in drained:
            click.echo(f"{rank} of pool {pool} is drained: nothing more is placed on it")
        if not settings.wait:
            return []
        left = await _until_empty(store, drained, scheduler, settings.timeout_s)
        for _, rank in drained if not left else ():
            click.echo(f"{rank} is empty: it may be stopped")
        return left

    if left := ask_store(settings.store, run):
        click.echo(f"not empty after {settings.timeout_s:g} s: {_said(left)}", err=True)
        sys.exit(NOT_EMPTY)


async def _until_empty(
    store: Store, drained: Sequence[PooledRank], scheduler: SchedulerSettings, timeout_s: float
) -> Sequence[Left]:
    """What is left when the time is over; on a terminal it is shown meanwhile. A store that is away is waited for."""
    emptying = Emptying(store, drained, scheduler)
    left: Sequence[Left] = [Left(rank=rank) for rank in drained]
    with Console(stderr=True).status(Text(_said(left))) as shown, anyio.move_on_after(timeout_s or None):
        while left:
            try:
                left = await emptying.look()
            except StoreUnavailableError as error:
                shown.update(Text(f"{error}; {_said(left)}"))
            else:
                shown.update(Text(_said(left)))
            if left:
                await anyio.sleep(LOOK_S)
    return left


def _said(left: Sequence[Left]) -> str:
    return "; ".join(map(str, left))
