"""What is in a namespace can be cut off as by a network that fails: its packets vanish and nobody is told."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from tests.link import Link, link
from tests.namespace import Namespace, namespace
from tests.polling import until, until_now
from tests.ports import HOST, free_port

SYN_SENT = 2
WITHIN_S = 60.0
"""TCP waits twice as long after each time it has sent in vain."""

MAKES_ONE = "import sys; from tests.namespace import *\nwith namespace() as it: print(it.device, flush=True), input()"


@contextmanager
def pair_of_sockets(place: Namespace) -> Iterator[tuple[socket.socket, socket.socket, socket.socket]]:
    """One out here, the one that it is connected to, and the one that listens there."""
    with place.bound(0) as listener:
        listener.listen()
        with socket.create_connection(listener.getsockname()) as ours:
            theirs, _ = listener.accept()
            with theirs:
                for each in (ours, theirs, listener):
                    each.setblocking(False)
                yield ours, theirs, listener


def info(each: socket.socket) -> bytes:
    """The beginning of struct tcp_info (linux/tcp.h): state, congestion state, retransmits."""
    return each.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 8)


async def until_sent_in_vain(each: socket.socket) -> None:
    """It has sent something again, and still has no answer."""
    await until(lambda: info(each)[2] > 0, "it was sent again", within_s=WITHIN_S)


async def test_who_connects_to_a_namespace_that_is_cut_off_hears_nothing_until_it_is_mended(place: Namespace) -> None:
    loop = asyncio.get_running_loop()
    with pair_of_sockets(place) as (_, _, listener), socket.socket() as late:
        late.setblocking(False)
        await place.cut()
        with pytest.raises(BlockingIOError):
            late.connect(listener.getsockname())
        await until_sent_in_vain(late)
        assert info(late)[0] == SYN_SENT
        assert late.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
        with pytest.raises(BlockingIOError):
            listener.accept()
        await place.mend()
        answered, _ = await asyncio.wait_for(loop.sock_accept(listener), WITHIN_S)
        with answered:
            await loop.sock_sendall(answered, b"hello")
            await until(lambda: info(late)[0] != SYN_SENT, "it is connected", within_s=WITHIN_S)
            assert await asyncio.wait_for(loop.sock_recv(late, 100), WITHIN_S) == b"hello"


async def test_what_is_sent_while_it_is_cut_off_arrives_in_both_directions_once_it_is_mended(place: Namespace) -> None:
    loop = asyncio.get_running_loop()
    with pair_of_sockets(place) as (ours, theirs, _):
        await place.cut()
        await loop.sock_sendall(ours, b"there")
        await loop.sock_sendall(theirs, b"back")
        for each in (ours, theirs):
            await until_sent_in_vain(each)
            with pytest.raises(BlockingIOError):
                each.recv(100)
            assert each.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
        await place.mend()
        assert await asyncio.wait_for(loop.sock_recv(theirs, 100), WITHIN_S) == b"there"
        assert await asyncio.wait_for(loop.sock_recv(ours, 100), WITHIN_S) == b"back"


async def test_only_the_namespace_that_is_cut_off_is(place: Namespace) -> None:
    loop = asyncio.get_running_loop()
    with namespace() as other, pair_of_sockets(other) as (ours, theirs, _):
        assert other.address != place.address
        await place.cut()
        await loop.sock_sendall(ours, b"there")
        assert await asyncio.wait_for(loop.sock_recv(theirs, 100), WITHIN_S) == b"there"


def test_no_two_have_the_same_addresses(place: Namespace, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = int(place.device.removeprefix("forebay"))
    monkeypatch.setattr("tests.namespace.PAIRS", [taken])
    monkeypatch.setattr("tests.namespace.TRIES", 1)
    with pytest.raises(OSError, match="all in use"), namespace():
        pass


@asynccontextmanager
async def greeting() -> AsyncIterator[int]:
    """The port of a server that speaks first, and then says each piece again."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"welcome")
        while piece := await reader.read(1000):
            writer.write(piece)
        writer.close()

    async with await asyncio.start_server(echo, HOST, 0) as server:
        yield server.sockets[0].getsockname()[1]


async def test_a_link_in_a_namespace_leads_out_of_it_to_who_speaks_first(place: Namespace) -> None:
    async with greeting() as port, link(Link(port, free_port(), place, greets=True)) as made:
        reader, writer = await asyncio.open_connection(made.host, made.port)
        assert await reader.readexactly(7) == b"welcome"
        await place.cut()
        writer.write(b"hello")
        await until_sent_in_vain(writer.get_extra_info("socket"))
        await place.mend()
        assert await asyncio.wait_for(reader.readexactly(5), WITHIN_S) == b"hello"
        writer.transport.abort()


def test_a_namespace_is_gone_when_its_block_ends(place: Namespace) -> None:
    with namespace() as other:
        assert is_there(other.device)
    assert not is_there(other.device)
    assert is_there(place.device)


def test_a_process_that_is_killed_leaves_none_behind(place: Namespace) -> None:
    command = [sys.executable, "-c", MAKES_ONE]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        device = process.stdout.readline().strip()
        assert device != place.device
        assert is_there(device)
        os.kill(process.pid, signal.SIGKILL)
    until_now(lambda: not is_there(device), "its namespace is gone")


def is_there(device: str) -> bool:
    return Path("/sys/class/net", device).exists()
