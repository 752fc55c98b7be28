"""What gateway/server.py and gateway/shared_listener.py stand on inside of uvicorn's server."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import Any, cast

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from gateway.listening import listening
from tests.polling import until

GET = b"GET / HTTP/1.1\r\nHost: g\r\n\r\n"


async def answers(scope: dict[str, Any], _: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 204})
    await send({"type": "http.response.body"})


class Server(uvicorn.Server):
    """Says which of its methods were called."""

    def __init__(self, **options: Any) -> None:
        super().__init__(uvicorn.Config(answers, lifespan="off", log_config=None, **options))
        self.called: list[str] = []

    async def startup(self, sockets: Any = None) -> None:
        self.called.append("startup")
        await super().startup(sockets)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        self.called.append("capture_signals")
        yield


@asynccontextmanager
async def running(server: Server, sockets: Any) -> AsyncIterator[None]:
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(server.serve(sockets))
        await until(lambda: server.started, "it runs")
        yield
        server.should_exit = True


async def test_startup_and_capture_signals_are_called_and_should_exit_ends_a_server_without_sockets() -> None:
    server = Server()
    async with running(server, []):
        assert server.called == ["capture_signals", "startup"]


async def test_http_protocol_class_is_what_was_given_and_is_called_with_what_a_protocol_takes() -> None:
    asked: list[set[str]] = []

    def made(own: str, **options: Any) -> asyncio.Protocol:
        asked.append(set(options))
        return HttpToolsProtocol(**options)

    given = cast("type[asyncio.Protocol]", partial(made, "own"))
    server = Server(http=given)
    with listening("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        async with running(server, [listener]):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(GET)
            assert b" 204 " in await reader.readuntil(b"\r\n\r\n")
            writer.close()
    assert server.config.http_protocol_class is given
    assert asked == [{"config", "server_state", "app_state", "_loop"}]


async def test_server_state_connections_may_be_another_set_and_each_of_it_is_shut_down_at_the_end() -> None:
    server = Server()
    others: set[Any] = set()
    server.server_state.connections = others
    async with running(server, []):
        protocol = HttpToolsProtocol(config=server.config, server_state=server.server_state, app_state={})
        with listening("127.0.0.1", 0) as listener:
            port = listener.getsockname()[1]
            serving = await asyncio.get_running_loop().create_server(lambda: protocol, sock=listener)
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            await until(lambda: others == {protocol}, "it is among the connections")
            serving.close()
    assert await reader.read() == b""
    writer.close()
