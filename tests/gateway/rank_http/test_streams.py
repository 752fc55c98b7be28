"""Answers as they come: poured, read, timed."""

import asyncio

import anyio
import pytest

from gateway.errors import RankFailedError, RankTimeoutError
from gateway.rank_http.exchange import LOOKS
from gateway.reply import ClientGoneError
from gateway.upstream import Deadlines, Upstream
from tests.gateway.rank_http.raw_rank import CHUNKED, DEADLINES, Peer, RawRank, answering, ask, open_upstream, raw_rank
from tests.gateway.rank_http.sinks import Kept
from tests.polling import until

EVENT = b"data: " + b"x" * 200 + b"\n\n"
WIRE = b"%x\r\n%b\r\n" % (len(EVENT), EVENT)
SOON = Deadlines(connect_s=5.0, first_byte_s=0.1, idle_s=0.1)
IDLE_SOON = Deadlines(connect_s=5.0, first_byte_s=20.0, idle_s=0.4)


async def pour(upstream: Upstream, rank: RawRank) -> Kept:
    """The body of one answer, poured."""
    async with upstream.request("POST", rank.url, [], b"", lambda: None) as answer:
        await answer.pour(kept := Kept())
    return kept


async def test_a_poured_body_comes_chunk_by_chunk_as_it_was_sent() -> None:
    seen = asyncio.Event()

    async def sends(peer: Peer) -> None:
        await peer.request()
        await peer.send(CHUNKED)
        for _ in range(5):
            await peer.send(WIRE)
            await seen.wait()
            seen.clear()
        await peer.send(b"0\r\n\r\n")
        await peer.until_closed()

    class Seeing(Kept):
        def take_chunks(self, chunks: bytes) -> None:
            super().take_chunks(chunks)
            seen.set()

        def take(self, payload: bytes) -> None:
            super().take(payload)
            seen.set()

    async with raw_rank(sends) as rank, open_upstream() as upstream:
        async with upstream.request("POST", rank.url, [], b"", lambda: None) as answer:
            await answer.pour(kept := Seeing())
            assert kept.parts == [EVENT] * 5
            # The first may have come with the head, before it was poured.
            assert kept.verbatim in {WIRE * 4, WIRE * 5}
            assert answer.awaited_since_s is None
        assert rank.open == 1


async def test_what_was_not_read_is_poured_first() -> None:
    async with raw_rank(answering(CHUNKED + WIRE * 3 + b"0\r\n\r\n")) as rank, open_upstream() as upstream:
        kept = await pour(upstream, rank)
    assert kept.payload == EVENT * 3


@pytest.mark.parametrize("head", [b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n"])
async def test_other_framings_pour_payload(head: bytes) -> None:
    async def sends(peer: Peer) -> None:
        await peer.request()
        await peer.send(head, b"he", b"llo")

    async with raw_rank(sends) as rank, open_upstream() as upstream:
        kept = await pour(upstream, rank)
    assert (kept.payload, kept.verbatim) == (b"hello", b"")


@pytest.mark.parametrize("end", [b"", b"zz\r\n", b"0\r\n\r\nx"])
async def test_a_pour_fails_with_its_rank_after_what_was_good(end: bytes) -> None:
    pouring = asyncio.Event()

    async def breaks_off(peer: Peer) -> None:
        await peer.request()
        await peer.send(CHUNKED)
        await pouring.wait()
        await peer.send(WIRE + end)

    async with raw_rank(breaks_off) as rank, open_upstream() as upstream:
        async with upstream.request("POST", rank.url, [], b"", lambda: None) as answer:
            pouring.set()
            with pytest.raises(RankFailedError):
                await answer.pour(kept := Kept())
        await until(lambda: rank.open == 0, "the connection is closed")
    assert kept.verbatim == WIRE


class Refuses(Kept):
    def __init__(self, error: Exception) -> None:
        super().__init__()
        self._error = error

    def take_chunks(self, chunks: bytes) -> None:
        raise self._error


@pytest.mark.parametrize("error", [ClientGoneError(), ZeroDivisionError("a bug")])
async def test_what_a_sink_raises_ends_the_pour_and_closes_the_connection(error: Exception) -> None:
    pouring = asyncio.Event()
    reports: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reports.append(context["exception"]))

    async def sends(peer: Peer) -> None:
        await peer.request()
        await peer.send(CHUNKED)
        await pouring.wait()
        await peer.send(WIRE)
        await peer.until_closed()

    async with raw_rank(sends) as rank, open_upstream() as upstream:
        async with upstream.request("POST", rank.url, [], b"", lambda: None) as answer:
            pouring.set()
            with pytest.raises(type(error)):
                await answer.pour(Refuses(error))
        await until(lambda: rank.open == 0, "the connection is closed")
    assert reports == ([error] if isinstance(error, ZeroDivisionError) else [])


class Alike(Kept):
    """Takes all chunks of the known size at a glance, as soon as one has come, and counts them."""

    glances = 0

    def take_alike(self, chunk: bytes) -> bool:
        fits = bool(self.parts) and chunk == WIRE
        self.glances += fits
        return fits


@pytest.mark.parametrize("cut", [0, 1, 3, 9, len(WIRE) - 1])
async def test_the_sink_is_asked_at_a_glance_only_between_chunks(cut: int) -> None:
    """A chunk that looks like one, within another, is the other's."""
    seen = asyncio.Semaphore(0)
    outer = b"%x\r\n%b%b%b\r\n" % (70_000 + 2 * cut + len(WIRE), b"y" * (70_000 + cut), WIRE, b"y" * cut)

    class Seeing(Alike):
        def take_alike(self, chunk: bytes) -> bool:
            fits = super().take_alike(chunk)
            if fits:
                seen.release()
            return fits

        def take_chunks(self, chunks: bytes) -> None:
            super().take_chunks(chunks)
            seen.release()

        def take(self, payload: bytes) -> None:
            super().take(payload)
            if payload.endswith(b"y" * 100) or WIRE in payload:
                seen.release()

    pouring = asyncio.Event()

    async def sends(peer: Peer) -> None:
        await peer.request()
        await peer.send(CHUNKED)
        await pouring.wait()
        for _ in range(3):
            await peer.send(WIRE)
            await seen.acquire()
        begin = outer.index(WIRE)
        await peer.send(outer[:begin])
        await seen.acquire()
        await peer.send(WIRE)
        await seen.acquire()
        await peer.send(outer[begin + len(WIRE) :], WIRE)
        await peer.send(b"0\r\n\r\n")

    async with (
        raw_rank(sends) as rank,
        open_upstream() as upstream,
        upstream.request("POST", rank.url, [], b"", lambda: None) as answer,
    ):
        pouring.set()
        await answer.pour(kept := Seeing())
    assert kept.glances in {2, 3}
    assert kept.payload.count(WIRE) == 1


async def test_a_pour_that_is_given_up_takes_no_more() -> None:
    kept = Alike()
    given_up = asyncio.Event()

    async def goes_on(peer: Peer) -> None:
        await peer.request()
        await peer.send(CHUNKED, WIRE)
        await given_up.wait()
        await peer.send(WIRE)
        await peer.until_closed()

    async with (
        raw_rank(goes_on) as rank,
        open_upstream() as upstream,
        upstream.request("POST", rank.url, [], b"", lambda: None) as answer,
    ):
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as group:
                group.start_soon(answer.pour, kept, name="pour")
                await until(lambda: bool(kept.parts), "a chunk has come")
                scope.cancel()
        given_up.set()
        assert await answer.read() == EVENT
    assert (len(kept.parts), kept.glances) == (1, 0)


async def test_an_answer_that_falls_silent_after_glances_is_a_timeout() -> None:
    pouring = asyncio.Event()
    kept = Alike()

    async def stalls(peer: Peer) -> None:
        await peer.request()
        await peer.send(CHUNKED)
        await pouring.wait()
        for sent in range(1, 4):
            await peer.send(WIRE)
            await until(lambda: len(kept.parts) + kept.glances == sent, "it has come")  # noqa: B023
        await peer.until_closed()

    async with raw_rank(stalls) as rank, open_upstream(IDLE_SOON) as upstream:
        async with upstream.request("POST", rank.url, [], b"", lambda: None) as answer:
            pouring.set()
            with pytest.raises(RankTimeoutError):
                await answer.pour(kept)
        await until(lambda: rank.open == 0, "the connection is closed")
    assert kept.glances == 2


async def test_a_silent_rank_is_looked_at_several_times_within_its_patience() -> None:
    async with (
        raw_rank(answering(CHUNKED)) as rank,
        open_upstream() as upstream,
        upstream.request("POST", rank.url, [], b"", lambda: None) as answer,
    ):
        timer = answer._exchange._timer
        assert timer is not None
        assert timer.when() - asyncio.get_running_loop().time() < DEADLINES.first_byte_s / LOOKS + 0.01  # of rounding


async def test_a_rank_is_heard_in_what_is_taken_at_a_glance() -> None:
    pouring = asyncio.Event()
    looked = asyncio.Event()
    kept = Alike()

    async def sends(peer: Peer) -> None:
        await peer.request()
        await peer.send(CHUNKED)
        await pouring.wait()
        await peer.send(WIRE)
        await looked.wait()
        await peer.send(WIRE)
        await peer.until_closed()

    async with (
        raw_rank(sends) as rank,
        open_upstream() as upstream,
        upstream.request("POST", rank.url, [], b"", lambda: None) as answer,
        asyncio.TaskGroup() as tasks,
    ):
        pour = tasks.create_task(answer.pour(kept), name="pour")
        pouring.set()
        await until(lambda: bool(kept.parts), "the first has come")
        before_s = answer.awaited_since_s
        looked.set()
        await until(lambda: kept.glances == 1, "the second was taken at a glance")
        after_s = answer.awaited_since_s
        assert before_s is not None
        assert after_s is not None
        assert after_s > before_s
        assert answer.awaited_since_s == after_s
        pour.cancel()


async def test_an_answer_that_is_over_takes_nothing_of_the_next_at_a_glance() -> None:
    script = answering(*[CHUNKED + WIRE * 2 + b"0\r\n\r\n"] * 2)
    async with raw_rank(script) as rank, open_upstream() as upstream:
        first = Alike()
        for sink in (first, Kept()):
            async with upstream.request("POST", rank.url, [], b"", lambda: None) as answer:
                await answer.pour(sink)
            assert sink.payload == EVENT * 2
        assert (rank.connections, first.glances) == (1, 0)


@pytest.mark.parametrize("sent", [b"", CHUNKED, CHUNKED + WIRE, CHUNKED + WIRE[:9], b"HTTP/1.1 100 Continue\r\n\r\n"])
@pytest.mark.parametrize("poured", [False, True])
async def test_a_rank_that_falls_silent_is_a_timeout(sent: bytes, poured: bool) -> None:
    async def stalls(peer: Peer) -> None:
        await peer.request()
        await peer.send(sent)
        await peer.until_closed()

    async with raw_rank(stalls) as rank, open_upstream(SOON) as upstream:
        with pytest.raises(RankTimeoutError):
            await (pour(upstream, rank) if poured else ask(upstream, rank.url))
        await until(lambda: rank.open == 0, "the connection is closed")


async def test_a_rank_that_sends_again_and_again_is_not_silent() -> None:
    async def sends(peer: Peer) -> None:
        await peer.request()
        await peer.send(CHUNKED)
        for _ in range(15):
            await peer.send(WIRE)
            await asyncio.sleep(0.15)
        await peer.send(b"0\r\n\r\n")

    deadlines = Deadlines(connect_s=5.0, first_byte_s=20.0, idle_s=2.0)
    async with raw_rank(sends) as rank, open_upstream(deadlines) as upstream:
        kept = await pour(upstream, rank)
    assert kept.payload == EVENT * 15


async def test_an_answer_that_is_over_leaves_its_connection_to_the_next() -> None:
    class Pausing(Kept):
        def take_chunks(self, chunks: bytes) -> None:
            super().take_chunks(chunks)
            over.pause()

    async with raw_rank(answering(*[CHUNKED + WIRE + b"0\r\n\r\n"] * 3)) as rank, open_upstream() as upstream:
        for _ in range(3):
            async with upstream.request("POST", rank.url, [], b"", lambda: None) as over:
                await over.pour(kept := Pausing())
            over.resume()
            over.pause()
            assert kept.payload == EVENT
        assert rank.connections == 1
