"""Where decode ranks that call for their prefill reach a proxy: the layerwise connector has them do so."""

from __future__ import annotations

import logging

import anyio

from agent.own_address import own_address_towards
from agent.targets import Target
from agent.this_machine import is_on_this_machine
from forebay.proxy.agents import kv_connector
from forebay.proxy.ranks import ANY_ADDRESS
from forebay.proxy.settings import ProxySettings
from scheduler.endpoints import is_local
from scheduler.messages import Role

CALLING = "mooncake_layerwise"

log = logging.getLogger(__name__)


async def called_at(settings: ProxySettings) -> str:
    """`HOST:PORT` to advertise; empty where that is the address it listens on, or nobody calls.

    A proxy that listens on all addresses is called at the one that the kernel takes towards the decode ranks; the
    proxy that is stood in for refuses to listen so.
    """
    if settings.advertise or kv_connector(settings) != CALLING:
        return settings.advertise
    decoders = settings.targets[Role.DECODE]
    if settings.host.strip("[]") in ANY_ADDRESS and settings.port:
        host = await anyio.to_thread.run_sync(_towards, decoders)
        if host:
            found = f"[{host}]:{settings.port}" if ":" in host else f"{host}:{settings.port}"
            log.info("decode ranks call this proxy at %s", found)
            return found
    elif is_local(settings.host):
        await _warn_of_those_elsewhere(settings.host, decoders)
    return ""


def _towards(decoders: tuple[Target, ...]) -> str:
    """That of the first rank on another machine: ranks on this one reach it, too."""
    found = ""
    for host, port in {target.host: target.port for target in decoders}.items():
        try:
            found = own_address_towards(host, port).partition("%")[0]
        except OSError:
            continue
        if not is_local(found):
            break
    return found


async def _warn_of_those_elsewhere(host: str, decoders: tuple[Target, ...]) -> None:
    for target in decoders:
        if not await is_on_this_machine(target.host):
            log.warning(
                "--host %s: decode rank %s is to call this proxy there, which only ranks of this machine can; give "
                "--host an address that they reach, or --advertise HOST:PORT",
                host, target.name,
            )  # fmt: skip
            return
