"""Bodies that come too slowly as a whole, though something of them comes again and again."""

import asyncio
import itertools
from contextlib import closing, nullcontext

import anyio
import anyio.lowlevel
import pytest
from anyio.lowlevel import checkpoint
from starlette.types import Message

from gateway.client_body import ClientBody
from gateway.errors import RequestTooSlowError
from gateway.patience import Patience, Waiting
from tests.gateway.fake_pools import FakePool, FakePools, card, pools_of_nobody
from tests.gateway.form import FORM_TYPE, field, file
from tests.gateway.receiving_rank import receiving_rank
from tests.gateway.running import COMPLETIONS, DEADLINE_S, checked_error, eventually, nothing_is_held, serving

NONE = Patience(idle_s=60, grace_s=0, least_bytes_per_s=1e9)
"""For whoever does not send everything at once."""


def test_a_body_has_its_grace_and_the_time_that_it_takes_at_the_least_rate() -> None:
    patience = Patience(idle_s=60, grace_s=20, least_bytes_per_s=500)
    assert patience.left_s(0, 0) == 20
    assert patience.left_s(5_000, 12) == 18
    assert patience.left_s(100, 21) < 0
    assert patience.left_s(1_000_000, 100) == 60


async def sends_drop_by_drop(port: int, head: str, beginning: bytes) -> tuple[int, bytes, bytes]:
    """The status and body of what a client is told that sends a byte of its body again and again, and what follows."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"{head}\r\nHost: g\r\nContent-Length: 100000\r\n\r\n".encode() + beginning)

    async def drip() -> None:
        while True:
            writer.write(b"x")
            await asyncio.sleep(0.01)

    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(drip, name="drip")
            with anyio.fail_after(DEADLINE_S):
                answer = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                length = int(answer.lower().partition("content-length: ")[2].split("\r\n")[0])
                body = await reader.readexactly(length)
                rest = await reader.read()
            tasks.cancel_scope.cancel()
        assert "connection: close" in answer.lower()
        return int(answer.split()[1]), body, rest
    finally:
        writer.close()


async def test_a_body_that_never_stops_to_come_slowly_is_a_408_and_the_connection_closes() -> None:
    async with serving(pools := pools_of_nobody()) as served:
        served.gateway.patience = NONE
        head = f"POST {COMPLETIONS} HTTP/1.1\r\nContent-Type: application/json"
        status, body, rest = await sends_drop_by_drop(served.port, head, b'{"prompt":"')
    error = checked_error(status, body)
    assert (error["code"], rest, pools.placed) == (408, b"", 0)
    assert "too slowly" in error["message"]


async def test_an_upload_that_comes_slowly_is_a_408_and_nothing_is_left_placed() -> None:
    async with receiving_rank() as rank, serving(FakePools(pool := FakePool(card(rank.url)))) as served:
        served.gateway.patience = NONE
        head = f"POST /v1/audio/transcriptions HTTP/1.1\r\nContent-Type: {FORM_TYPE}"
        status, body, rest = await sends_drop_by_drop(served.port, head, field("model", "sim") + file(b"x" * 1000))
        assert (checked_error(status, body)["code"], rest) == (408, b"")
        await eventually(lambda: rank.open_connections == 0)
        await eventually(lambda: nothing_is_held(served, pool))


@pytest.mark.parametrize("needed", [True, False])
async def test_what_nobody_needs_is_waited_for_without_an_end(needed: bool) -> None:
    async def receive() -> Message:
        await checkpoint()
        return {"type": "http.disconnect"}

    waiting = Waiting(NONE)
    if not needed:
        waiting.forever()
    with pytest.raises(RequestTooSlowError) if needed else nullcontext():
        assert await waiting.next(receive, 0) == {"type": "http.disconnect"}


@pytest.mark.parametrize(("rank_takes_s", "client_takes_s", "is_refused"), [(1000.0, 0.0, False), (0.0, 1000.0, True)])
async def test_only_the_time_in_which_the_client_is_waited_for_counts(
    rank_takes_s: float, client_takes_s: float, is_refused: bool
) -> None:
    now_s = 0.0
    numbers = itertools.count(1)

    async def receive() -> Message:
        nonlocal now_s
        if client_takes_s:
            now_s += client_takes_s
            await checkpoint()
        number = next(numbers)
        return {"type": "http.request" if number < 6 else "http.disconnect", "body": b"x", "more_body": number < 5}

    waiting = Waiting(Patience(idle_s=60, grace_s=20, least_bytes_per_s=500), clock=lambda: now_s)
    body = ClientBody(receive, [], max_bytes=100, waiting=waiting)
    got: list[bytes] = []

    async def take() -> None:
        nonlocal now_s
        async for part in body:
            now_s += rank_takes_s
            got.append(part)

    with closing(body):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(take, name="rank")
            with pytest.raises(RequestTooSlowError, match="too slowly") if is_refused else nullcontext():
                await body.watch()
            if is_refused:
                tasks.cancel_scope.cancel()
    assert len(got) == (1 if is_refused else 5)
