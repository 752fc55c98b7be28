"""One of uvicorn's own connections without a socket: a test feeds it and sees what it does with its transport."""

import asyncio
from collections import deque
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from tests.polling import until

GET = b"GET /a HTTP/1.1\r\nHost: g\r\n\r\n"
HEAD = {"type": "http.response.start", "status": 200, "headers": []}
END = {"type": "http.response.body", "body": b"ok"}


class Wire(asyncio.Transport):
    """Keeps what is written, and how it is asked to behave."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.is_closed = False
        self.is_reading_now = True

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += data

    def close(self) -> None:
        self.is_closed = True

    def is_closing(self) -> bool:
        return self.is_closed

    def pause_reading(self) -> None:
        self.is_reading_now = False

    def resume_reading(self) -> None:
        self.is_reading_now = True


class Call:
    """The application's end of one request; it lasts until its answer is complete or the connection is closed."""

    def __init__(self, scope: Any, receive: Any, send: Any) -> None:
        self.scope = scope
        self.receive = receive
        self.send = send
        self.is_over = asyncio.Event()

    async def answer(self, *headers: tuple[bytes, bytes]) -> None:
        await self.send(HEAD | {"headers": list(headers)})
        await self.send(END)
        self.is_over.set()


class Connection:
    """`calls`: the requests whose turn has come."""

    def __init__(self, protocol_class: type[HttpToolsProtocol] = HttpToolsProtocol, **options: Any) -> None:
        self.calls: deque[Call] = deque()
        self._all: list[Call] = []
        config = uvicorn.Config(
            self._app, interface="asgi3", proxy_headers=False, lifespan="off", log_config=None, **options
        )
        self.state = ServerState()
        self.protocol = protocol_class(config=config, server_state=self.state, app_state={})
        self.wire = Wire()
        self.protocol.connection_made(self.wire)

    async def _app(self, scope: Any, receive: Any, send: Any) -> None:
        self.calls.append(call := Call(scope, receive, send))
        self._all.append(call)
        await call.is_over.wait()

    @property
    def cycle(self) -> RequestResponseCycle:
        return self.protocol.cycle

    async def call(self, sent: bytes = GET) -> Call:
        """Feed a request; the application's end of it once its turn has come."""
        self.protocol.data_received(sent)
        return await self.next_call()

    async def next_call(self) -> Call:
        await until(lambda: bool(self.calls), "the application is called")
        return self.calls.popleft()

    async def close(self) -> None:
        """It is lost; all that ran on it ends."""
        self.protocol.connection_lost(None)
        for call in self._all:
            call.is_over.set()
        await until(lambda: not self.state.tasks, "all tasks have ended")
