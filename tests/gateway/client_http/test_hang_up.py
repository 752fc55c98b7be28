"""A connection that is not read tells of its other side's end all the same."""

import asyncio
import socket

import pytest

from gateway.client_http.hang_up import HangUpWatch
from tests.gateway.running import eventually


class Ends(asyncio.Protocol):
    """Knows whether its connection is over."""

    def __init__(self) -> None:
        self.has_ended = False

    def connection_lost(self, exc: Exception | None) -> None:
        self.has_ended = True


@pytest.mark.parametrize("sent", [b"", b"what nobody reads"])
async def test_it_is_aborted_when_the_other_side_has_closed_and_not_before(sent: bytes) -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        transport, ends = await asyncio.get_running_loop().connect_accepted_socket(Ends, ours)
        transport.pause_reading()
        watch = HangUpWatch(transport)
        watch.start()
        theirs.send(sent)
        for _ in range(3):
            watch._look()
        assert not transport.is_closing()
    await eventually(lambda: ends.has_ended)


async def test_one_that_is_read_again_is_left_alone() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        transport, _ = await asyncio.get_running_loop().connect_accepted_socket(asyncio.Protocol, ours)
        watch = HangUpWatch(transport)
        watch.start()
        watch.stop()
        assert watch._timer is None
        transport.close()
