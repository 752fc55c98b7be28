"""Mooncake's bootstrap server, by which a decode rank finds an engine's workers, and the question it is asked."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Protocol
from urllib.parse import urlsplit

import msgspec

from simulator.exchange import Exchange, Request

_MOST_BYTES = 1 << 20


class Registered(Protocol):
    """An engine with an address."""

    engine_id: str
    address: tuple[str, int]


class BootstrapError(Exception):
    """The server does not answer as one."""


class _Entry(msgspec.Struct, frozen=True):
    engine_id: str
    worker_addr: dict[str, dict[str, str]]


_DECODER = msgspec.json.Decoder(dict[str, _Entry])


def answer(engines: Iterable[Registered], request: Request, exchange: Exchange) -> None:
    """GET /query: each engine by its index, with the address of its one worker."""
    if (request.method, request.path) != ("GET", "/query"):
        exchange.respond(404, b'{"detail":"Not Found"}')
        return
    entries = {
        str(index): _Entry(engine.engine_id, {"0": {"0": f"tcp://{_bracketed(engine.address[0])}:{engine.address[1]}"}})
        for index, engine in enumerate(engines)
    }
    exchange.respond(200, msgspec.json.encode(entries))


async def address_of(url: str, engine_id: str) -> tuple[str, int] | None:
    """Where an engine is by the server at this URL; None where it knows no such engine. Raises BootstrapError."""
    try:
        parts = urlsplit(url)
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        try:
            writer.write(f"GET /query HTTP/1.0\r\nHost: {parts.netloc}\r\n\r\n".encode())
            entries = _DECODER.decode((await reader.read(_MOST_BYTES)).partition(b"\r\n\r\n")[2])
        finally:
            writer.close()
        workers = next((each.worker_addr for each in entries.values() if each.engine_id == engine_id), None)
        worker = urlsplit(workers["0"]["0"]) if workers else None
    except (OSError, ValueError, KeyError, msgspec.DecodeError) as error:
        raise BootstrapError(str(error)) from error
    return (worker.hostname or "", worker.port or 0) if worker else None


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
