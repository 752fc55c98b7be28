"""Several servers on one listening socket."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import anyio
import uvicorn

from gateway.connection_counts import ConnectionCounts, create_shared_memory
from gateway.listening import listening
from gateway.server import _Server
from gateway.shared_listener import LEAVE_TO_OTHERS_S, SharedListener
from tests.polling import until


async def answers(scope: dict[str, Any], _: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 204})
    await send({"type": "http.response.body"})


class Servers:
    """Servers in this process, as workers are in theirs."""

    def __init__(self, listener: socket.socket, count: int) -> None:
        self.port = listener.getsockname()[1]
        self._listener = listener
        self._counts = ConnectionCounts(create_shared_memory(count), count)
        self.servers = [_Server(uvicorn.Config(answers, lifespan="off", log_config=None)) for _ in range(count)]
        self.accepting = [anyio.CancelScope() for _ in range(count)]

    async def run(self, index: int) -> None:
        own = socket.socket(fileno=socket.dup(self._listener.fileno()))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.servers[index].serve, [])
            await self.servers[index].up.wait()
            with self.accepting[index]:
                await SharedListener([own], self._counts, index).accept_for(self.servers[index])

    @property
    def connections(self) -> list[int]:
        return [len(server.server_state.connections) for server in self.servers]


@asynccontextmanager
async def sharing(count: int) -> AsyncIterator[Servers]:
    with listening("127.0.0.1", 0) as listener:
        listener.setblocking(False)
        servers = Servers(listener, count)
        async with anyio.create_task_group() as tasks:
            for index in range(count):
                tasks.start_soon(servers.run, index)
            for server in servers.servers:
                await server.up.wait()
            yield servers
            for server, accepting in zip(servers.servers, servers.accepting, strict=True):
                server.should_exit = True
                accepting.cancel()


async def connect(servers: Servers, open_ones: AsyncExitStack) -> asyncio.StreamWriter:
    """A connection that has had an answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", servers.port)
    open_ones.callback(writer.close)
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert b" 204 " in await reader.readuntil(b"\r\n\r\n")
    return writer


async def connect_in_turn(servers: Servers, open_ones: AsyncExitStack) -> asyncio.StreamWriter:
    """The same after a moment, for a worker that has just left one to others does not look before it has passed."""
    await asyncio.sleep(2 * LEAVE_TO_OTHERS_S)
    return await connect(servers, open_ones)


async def test_each_worker_gets_as_many_connections_as_the_others() -> None:
    async with sharing(3) as servers, AsyncExitStack() as open_ones:
        for _ in range(9):
            await connect_in_turn(servers, open_ones)
        assert servers.connections == [3, 3, 3]


async def test_connections_that_come_together_are_shared_too() -> None:
    async with sharing(2) as servers, AsyncExitStack() as open_ones:
        await asyncio.gather(*(connect(servers, open_ones) for _ in range(20)))
        assert servers.connections == [10, 10]


async def test_a_worker_that_lost_connections_gets_the_next_ones() -> None:
    async with sharing(2) as servers, AsyncExitStack() as open_ones:
        opened = [await connect_in_turn(servers, open_ones) for _ in range(8)]
        first: set[Any] = set(servers.servers[0].server_state.connections)
        ports = {protocol.client[1] for protocol in first}
        for writer in opened:
            if writer.get_extra_info("sockname")[1] in ports:
                writer.close()
        await until(lambda: servers.connections == [0, 4], "the first one has lost its connections")
        for _ in range(4):
            await connect_in_turn(servers, open_ones)
        assert servers.connections == [4, 4]


async def test_a_worker_that_takes_no_more_leaves_the_next_ones_to_the_others() -> None:
    async with sharing(2) as servers, AsyncExitStack() as open_ones:
        for _ in range(4):
            await connect_in_turn(servers, open_ones)
        servers.accepting[0].cancel()
        for _ in range(4):
            await connect_in_turn(servers, open_ones)
        assert servers.connections == [2, 6]
