"""A gateway over pools of a test's making, served by the real server on a real socket."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple
from unittest.mock import patch

import anyio
import httpx
import uvicorn.server

from gateway.gateway import Gateway
from gateway.listening import listening
from gateway.server import open_upstream, serve_http
from gateway.settings import GatewaySettings
from scheduler.limits import SharedLimits
from scheduler.settings import SchedulerSettings
from simulator.store import VirtualStore
from tests.gateway.fake_pools import FakePool, FakePools
from tests.polling import until

DEADLINE_S = 30.0

CHAT = "/v1/chat/completions"
COMPLETIONS = "/v1/completions"


class HastyAsyncio:
    """asyncio, as uvicorn's server is to see it: it sleeps 0.1 s between looks whether it is to stop, and again to let
    what it has stopped end, which over all tests makes minutes.
    """

    HASTE = 20

    async def sleep(self, delay_s: float) -> None:
        await asyncio.sleep(delay_s / self.HASTE)

    def __getattr__(self, name: str) -> Any:
        return getattr(asyncio, name)


class Served(NamedTuple):
    """A gateway that is ready, and a client of it."""

    gateway: Gateway
    port: int
    client: httpx.AsyncClient

    @property
    def url(self) -> str:
        return f"{self.gateway.settings.scheme}://127.0.0.1:{self.port}"

    async def complete(self, headers: dict[str, str] | None = None, **fields: Any) -> httpx.Response:
        """POST a text completion with these fields."""
        body = {"model": "sim", "prompt": "Once upon a time", "max_tokens": 8} | fields
        return await self.client.post(COMPLETIONS, json=body, headers=headers)

    async def send(self, raw: bytes, *, half_close: bool = False) -> tuple[int, dict[str, str], bytes]:
        """Send bytes on a connection of their own; the answer's status, headers and body."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(raw)
            if half_close:
                writer.write_eof()
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), DEADLINE_S)
            status_line, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
            body = await asyncio.wait_for(reader.readexactly(int(headers.get("content-length", 0))), DEADLINE_S)
            return int(status_line.split()[1]), headers, body
        finally:
            writer.close()


def nothing_is_held(served: Served, pool: FakePool) -> bool:
    """The gateway has given back all that requests held: reservations, tasks, connections to ranks."""
    return not (pool.live or served.gateway.alive or served.gateway.upstream.open_requests)


def post(path: str, body: bytes, *headers: str) -> bytes:
    """The bytes of a POST."""
    lines = "".join(f"{header}\r\n" for header in (*headers, f"Content-Length: {len(body)}"))
    return f"POST {path} HTTP/1.1\r\nHost: gateway\r\nContent-Type: application/json\r\n{lines}\r\n".encode() + body


def error_of(response: httpx.Response) -> dict[str, Any]:
    """The error in an answer, checked for its shape."""
    return checked_error(response.status_code, response.content)


def checked_error(status: int, body: bytes) -> dict[str, Any]:
    """The error in a body, which has OpenAI's shape and names its status."""
    (error,) = json.loads(body).values()
    assert error.keys() == {"message", "type", "param", "code"}
    assert error["code"] == status
    assert isinstance(error["message"], str)
    assert isinstance(error["type"], str)
    return dict(error)


def no_limits() -> SharedLimits:
    """Limits of a gateway whose keys have none."""
    return SharedLimits(VirtualStore(), gateway="7@gateway", settings=SchedulerSettings(), pools=list)


@asynccontextmanager
async def serving(pools: FakePools, *, limits: Any = None, life: Any = "", **options: Any) -> AsyncIterator[Served]:
    """Serve these pools until the block ends, with limits of keys that somebody else keeps.

    Nobody waits for a rank unless the options say so. Ranks are told where to call only a gateway with a `life`.
    """
    settings = GatewaySettings(redis="redis://unused", **({"rank_wait_ms": 0} | options))
    with patch.object(uvicorn.server, "asyncio", HastyAsyncio()), listening("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        async with open_upstream(settings) as upstream:
            name = f"{life}@127.0.0.1:{port}" if life else "7@gateway"
            gateway = Gateway(
                settings, pools, upstream, limits=limits or no_limits(), name=name, started_s=1_700_000_000
            )
            up = anyio.Event()
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(serve_http, gateway, [listener], lambda _: up.set())
                if pools.ready:
                    with anyio.fail_after(DEADLINE_S):
                        await up.wait()
                # To read all certificates for each client costs more than most tests do.
                async with httpx.AsyncClient(
                    base_url=f"{settings.scheme}://127.0.0.1:{port}", trust_env=False, verify=False, timeout=DEADLINE_S
                ) as client:
                    yield Served(gateway, port, client)
                tasks.cancel_scope.cancel()


async def eventually(holds: Callable[[], bool]) -> None:
    """Wait until something holds."""
    await until(holds, "what the test waits for", within_s=DEADLINE_S)
