"""`forebay proxy` as a process: its gateway, or the workers that are its gateways, and what stands behind them."""

from __future__ import annotations

from collections.abc import Callable

from agent.stat_socket import OFF, stat_socket
from forebay.proxy.behind import opened_behind
from forebay.proxy.settings import ProxySettings
from forebay.settings import GatewayCommandSettings
from forebay.supervise import Household
from forebay.workers import serve_by_workers
from gateway.listening import listening
from gateway.server import open_gateway, serve_http


async def serve(settings: ProxySettings, ready: Callable[[str], None]) -> None:
    """Serve until SIGTERM, SIGINT or cancellation, as `gateway.server.serve` does.

    `ready` gets one line, once there is a rank of each role. Raises what `_check_addresses` and `opened_behind` raise.
    """
    _check_addresses(settings)
    async with opened_behind(settings) as behind:
        if behind is None:
            return
        own = behind.gateway
        async with open_gateway(own, lambda: listening(own.host, own.port)) as (gateway, listener):
            gateway.site = behind.site
            await serve_http(gateway, [listener], behind.announcing(ready))


async def serve_workers(settings: ProxySettings, ready: Callable[[str], None], household: Household) -> None:
    """The same by several gateways on one port. Raises what `serve` raises, CannotStartError and ChildEndedError."""
    _check_addresses(settings)
    async with opened_behind(settings) as behind:
        if behind is None:
            return
        command = GatewayCommandSettings(gateway=behind.gateway, workers=settings.workers)
        await serve_by_workers(command, household, site=behind.site, announce=behind.announcing(ready))


def _check_addresses(settings: ProxySettings) -> None:
    """A port or a stat socket that cannot be had is told before anything is started, or a rank waited for.

    Raises ListenError and StatSocketError.
    """
    with listening(settings.host, settings.port), stat_socket(settings.stat_socket or OFF):
        pass
