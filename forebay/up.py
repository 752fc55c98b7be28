"""`forebay up`: all of Forebay on this machine, from its start to its end."""

from __future__ import annotations

from forebay.children import Children
from forebay.invocation import Invocation
from forebay.ports import free_row, obstacles
from forebay.settings import UpSettings
from forebay.startup import Startup
from forebay.supervise import CannotStartError, Household, supervise


async def up(settings: UpSettings, invocation: Invocation, household: Household) -> None:
    """Run it all until a signal, as `supervise` does, and raise what that raises."""
    if taken := obstacles(settings.gateway_ports):
        obstacles_said = "\n".join(f"gateway port {port}: {why}" for port, why in taken.items())
        raise CannotStartError(f"{obstacles_said}; {_advice(settings)}")

    async def start(running: Children) -> str:
        return await Startup(settings, invocation, running, household.console).run()

    await supervise(start, household)


def _advice(settings: UpSettings) -> str:
    free = free_row(settings.gateways, settings.port)
    return "choose others with --port" + (f' (make run ARGS="--port {free}")' if free else "")
