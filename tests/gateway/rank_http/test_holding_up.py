"""Backpressure on an answer, and what is left when all is over."""

from pathlib import Path

import anyio

from gateway.rank_http import unread
from gateway.upstream import Deadlines, RankAnswer
from tests.gateway.rank_http.raw_rank import CHUNKED, OK, Peer, answering, ask, open_upstream, raw_rank
from tests.gateway.rank_http.sinks import Kept
from tests.polling import until, until_at_rest

WIRE = b"d7\r\n" + b"x" * 215 + b"\r\n"
IDLE_SOON = Deadlines(connect_s=5.0, first_byte_s=20.0, idle_s=0.1)


class Flood:
    """Sends without an end, `sent` pieces so far."""

    def __init__(self) -> None:
        self.sent = 0

    async def script(self, peer: Peer) -> None:
        await peer.request()
        await peer.send(CHUNKED)
        while True:
            await peer.send(WIRE * 200)
            self.sent += 1

    async def comes_to_rest(self) -> None:
        """Wait until nothing more can be sent."""
        await until_at_rest(lambda: self.sent, "nothing more can be sent")


async def test_what_is_not_read_stops_the_rank() -> None:
    flood = Flood()
    async with (
        raw_rank(flood.script) as rank,
        open_upstream() as upstream,
        upstream.request("POST", rank.url, [], b"", lambda: None) as answer,
    ):
        await flood.comes_to_rest()
        total = len(await answer.read())
        assert unread.MAX_BYTES < total < 3 * unread.MAX_BYTES
        while total < 20_000_000:
            total += len(await answer.read())


async def test_a_paused_pour_stops_the_rank_and_no_deadline_passes() -> None:
    class Pausing(Kept):
        answer: RankAnswer

        def take_chunks(self, chunks: bytes) -> None:
            super().take_chunks(chunks)
            self.answer.pause()

    flood = Flood()
    async with (
        raw_rank(flood.script) as rank,
        open_upstream(IDLE_SOON) as upstream,
        anyio.create_task_group() as tasks,
    ):
        async with upstream.request("POST", rank.url, [], b"", lambda: None) as answer:
            kept = Pausing()
            kept.answer = answer
            tasks.start_soon(answer.pour, kept)
            await until(lambda: bool(kept.parts), "something comes")
            await flood.comes_to_rest()
            deadline = answer._exchange._timer
            await until(lambda: answer._exchange._timer is not deadline, "the deadline was looked at, and set anew")
            assert len(kept.parts) <= 2
            assert answer.awaited_since_s is None
            answer.resume()
            assert answer.awaited_since_s is not None
            await until(lambda: len(kept.parts) > 2, "more comes")
        tasks.cancel_scope.cancel()


async def test_a_pour_that_begins_paused_takes_what_was_unread_and_no_more() -> None:
    flood = Flood()
    async with (
        raw_rank(flood.script) as rank,
        open_upstream() as upstream,
        anyio.create_task_group() as tasks,
    ):
        async with upstream.request("POST", rank.url, [], b"", lambda: None) as answer:
            await flood.comes_to_rest()
            answer.pause()
            tasks.start_soon(answer.pour, kept := Kept())
            await until(lambda: bool(kept.parts), "what was unread is taken")
            await flood.comes_to_rest()
            assert len(kept.parts) == 1
            assert answer.awaited_since_s is None
            answer.resume()
            await until(lambda: len(kept.parts) > 1, "more comes")
        tasks.cancel_scope.cancel()


async def test_what_is_held_up_is_not_read_on_because_a_pause_is_over() -> None:
    flood = Flood()
    async with (
        raw_rank(flood.script) as rank,
        open_upstream() as upstream,
        upstream.request("POST", rank.url, [], b"", lambda: None) as answer,
    ):
        await flood.comes_to_rest()
        answer.pause()
        answer.resume()
        transport = answer._exchange._connection._transport
        assert transport is not None
        assert not transport.is_reading()
        assert answer.awaited_since_s is None


def descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


async def test_of_many_requests_no_descriptor_remains() -> None:
    async def round_of(requests: int) -> None:
        async with open_upstream() as upstream:
            for _ in range(requests):
                async with upstream.request("POST", stalling.url, [], b"", lambda: None) as answer:
                    await answer.read()
                await ask(upstream, rank.url)
        await until(lambda: stalling.open == rank.open == 0, "all are closed")

    async with raw_rank(answering(CHUNKED + WIRE)) as stalling, raw_rank(answering(*[OK] * 20)) as rank:
        await round_of(1)
        before = descriptors()
        await round_of(20)
        await until(lambda: descriptors() <= before, "all descriptors are closed")
