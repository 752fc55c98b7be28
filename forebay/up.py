"""`forebay up`: all of Forebay on this machine, from its start to its end."""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping

import anyio
from rich.console import Console

from forebay.children import Children, children
from forebay.ports import obstacles
from forebay.settings import UpSettings
from forebay.startup import CannotStartError, Startup


async def up(settings: UpSettings, environment: Mapping[str, str], say: Callable[[str], None], errors: Console) -> None:
    """Run until SIGTERM or SIGINT; a second signal waits for nobody.

    `environment` is the children's. `say` gets the announcement once everything serves; progress and what the children
    say on standard error go to `errors`. Raises CannotStartError and ChildEndedError, perhaps within exception groups.
    """
    if taken := obstacles(settings.gateway_ports):
        raise CannotStartError("\n".join(f"gateway port {port}: {why}" for port, why in taken.items()))

    def hear(name: str, line: str) -> None:
        errors.print(f"{name}: {line}", markup=False, highlight=False, soft_wrap=True)

    async with anyio.create_task_group() as tasks:
        with anyio.CancelScope() as work:
            async with children(environment, hear) as running:
                tasks.start_soon(_end_on_signal, work, running, errors, name="signals")
                say(await Startup(settings, running, errors).run())
                await anyio.sleep_forever()
        tasks.cancel_scope.cancel()


async def _end_on_signal(work: anyio.CancelScope, running: Children, errors: Console) -> None:
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for _ in signals:
            if work.cancel_called:
                running.kill()
            else:
                errors.print("forebay up: stopping")
                work.cancel()
