"""A machine that loses its power or its network closes no connection, and says nothing. A rank that thinks does not."""

import asyncio

import pytest

from gateway.errors import RankFailedError
from gateway.upstream import Deadlines
from tests.gateway.rank_http.raw_rank import CHUNKED, OK, Peer, answering, ask, open_upstream, raw_rank
from tests.namespace import Namespace

SOON_S = 1.0
PATIENT = Deadlines(connect_s=5.0, first_byte_s=1_000.0, idle_s=1_000.0, vanished_s=SOON_S)


async def test_a_rank_whose_machine_vanishes_while_it_is_waited_for_has_broken_off(place: Namespace) -> None:
    async def begins(peer: Peer) -> None:
        await peer.request()
        await peer.send(CHUNKED, b"2\r\nok\r\n")
        await peer.until_closed()

    async with raw_rank(begins, place=place) as rank, open_upstream(PATIENT) as upstream:
        async with upstream.request("POST", rank.url, [], b"", lambda: None) as answer:
            assert await answer.read() == b"ok"
            await place.cut()
            with pytest.raises(RankFailedError):
                await answer.read()
        await place.mend()


async def test_a_request_that_no_machine_takes_from_a_kept_connection_has_failed(place: Namespace) -> None:
    async with raw_rank(answering(OK, OK), place=place) as rank, open_upstream(PATIENT) as upstream:
        assert await ask(upstream, rank.url) == (200, b"ok")
        await place.cut()
        with pytest.raises(RankFailedError):
            await ask(upstream, rank.url)
        await place.mend()


async def test_a_rank_that_thinks_for_long_is_waited_for_while_its_machine_is_there() -> None:
    async def thinks(peer: Peer) -> None:
        await peer.request()
        await asyncio.sleep(3 * SOON_S)
        await peer.send(OK)

    async with raw_rank(thinks) as rank, open_upstream(PATIENT) as upstream:
        assert await ask(upstream, rank.url) == (200, b"ok")
