"""The store of a proxy that shares its load with no other: a redis-server of its own, or one within the process."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio

from forebay.embedded_redis import EmbeddedRedis
from forebay.local_redis import answers_ping, local_redis_url, redis_server_path
from forebay.ports import LOOPBACK, free_ports

START_S = 30.0
AGAIN_AFTER_S = 0.5

log = logging.getLogger(__name__)


class LocalStoreError(OSError):
    """The own store does not start."""


@asynccontextmanager
async def open_local_store(*, in_process: bool) -> AsyncIterator[tuple[str, str]]:
    """Its URL, and what it is, for people. `in_process`: without a redis-server. Raises LocalStoreError."""
    if in_process or redis_server_path() is None:
        with EmbeddedRedis(LOOPBACK, 0) as server:
            serving = threading.Thread(target=server.serve_forever, name="embedded store", daemon=True)
            serving.start()
            try:
                yield local_redis_url(server.server_address[1]), "its own, within this process"
            finally:
                # It looks twice a second whether it is to end; nothing here waits for that.
                threading.Thread(target=server.shutdown, daemon=True).start()
        return
    (port,) = free_ports(1)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_keep_redis_server, port, name="redis-server")
        with anyio.move_on_after(START_S) as starting:
            await answers_ping(port)
        if starting.cancelled_caught:
            raise LocalStoreError(f"redis-server does not start on port {port}")
        yield local_redis_url(port), f"its own, {redis_server_path()} on port {port}"
        tasks.cancel_scope.cancel()


async def _keep_redis_server(port: int) -> None:
    """Run it, again if it ends: what was in it is told anew by whoever knows it."""
    while True:
        # Of its end, its starter is told by the kernel; ours it hears of in the same way (parent.py).
        command = [sys.executable, "-m", "forebay", "--die-with", str(os.getpid()), "local-redis", "--port", str(port)]
        process = await anyio.open_process(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=None, start_new_session=True
        )
        try:
            await process.wait()
        finally:
            if process.returncode is None:
                process.kill()
            with anyio.CancelScope(shield=True):
                await process.aclose()
        log.error("the proxy's redis-server ended with %s; another is started", process.returncode)
        await anyio.sleep(AGAIN_AFTER_S)
