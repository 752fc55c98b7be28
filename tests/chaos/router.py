"""A router that is somebody else's: it is told of the ranks by whoever started it, and waited for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from urllib.parse import urlsplit

import click

from tests.chaos.http_client import ask
from tests.chaos.judging import judge
from tests.chaos.settings import MODEL
from tests.chaos.workload import request
from tests.polling import until
from tests.ports import HOST

READY_WITHIN_S = 600.0
TRY_S = 10.0


async def wait_for_router(url: str, rank_ports: Sequence[int], say: Callable[[str], None]) -> int:
    """Its port, once it answers a request rightly; what it has to route to is said first."""
    port = port_of(url)
    say(f"waiting for {url} to serve model {MODEL} of " + " ".join(f"http://{HOST}:{each}" for each in rank_ports))

    async def serves() -> bool:
        asked = request(0, 0, MODEL, tiny=True)
        return judge(asked, await ask(port, asked, TRY_S)).judgment == "whole"

    await until(serves, f"{url} serves", within_s=READY_WITHIN_S, pause_s=0.25)
    return port


def port_of(url: str) -> int:
    """Only routers on this machine are asked: the ranks are here."""
    parts = urlsplit(url)
    if parts.scheme != "http" or parts.hostname not in (HOST, "localhost"):
        raise click.BadParameter(f"expected http://{HOST}:PORT, not {url!r}", param_hint="--against")
    return parts.port or 80
