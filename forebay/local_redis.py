"""The Redis that `forebay up` brings: redis-server if it is installed, else the embedded server."""

from __future__ import annotations

import shutil

import anyio

from forebay.ports import LOOPBACK

RETRY_S = 0.02


def redis_server_path() -> str | None:
    """Where redis-server is installed, if it is."""
    return shutil.which("redis-server")


def describe_local_redis() -> str:
    """What `forebay local-redis` runs here, for the user."""
    if path := redis_server_path():
        return path
    return "embedded fakeredis: no redis-server on the PATH; for trying things out, not for load"


def local_redis_url(port: int) -> str:
    """The URL of a local Redis."""
    return f"redis://{LOOPBACK}:{port}/0"


async def answers_ping(port: int) -> None:
    """Return once the Redis on this local port answers a PING."""
    while True:
        if await _pong(port):
            return
        await anyio.sleep(RETRY_S)


async def _pong(port: int) -> bool:
    try:
        async with await anyio.connect_tcp(LOOPBACK, port) as stream:
            await stream.send(b"*1\r\n$4\r\nPING\r\n")
            return (await stream.receive()).startswith(b"+PONG")
    except (OSError, anyio.EndOfStream, anyio.BrokenResourceError):
        return False
