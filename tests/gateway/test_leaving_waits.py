"""Clients that leave while their requests wait: for keys, for pools, for a limit, for a rank. It is noticed at once."""

import socket
import struct
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import anyio
import pytest
from anyio.abc import SocketStream

from scheduler.decision import Reject
from scheduler.limit_rule import Answer, Limits
from tests.gateway.fake_pools import NOWHERE, FakePool, FakePools
from tests.gateway.form import FORM_TYPE, field, file, form
from tests.gateway.named_keys import by_digest, named
from tests.gateway.running import COMPLETIONS, Served, eventually, nothing_is_held, post, serving

LONG_MS = 600_000
KEY = "Authorization: Bearer fb-team"
MODELS = f"GET /v1/models HTTP/1.1\r\nHost: g\r\n{KEY}\r\n\r\n".encode()
COMPLETION = post(COMPLETIONS, b'{"model":"sim","prompt":"x","max_tokens":2}', KEY)
RESET = struct.pack("ii", 1, 0)
"""A socket that lingers for no time is reset when it is closed."""


def upload(size: int) -> bytes:
    """A form that lacks its end."""
    whole = form(field("model", "sim"), file(bytes(size)))
    head = f"POST /v1/audio/transcriptions HTTP/1.1\r\nHost: g\r\n{KEY}\r\nContent-Type: {FORM_TYPE}\r\n"
    return f"{head}Content-Length: {len(whole)}\r\n\r\n".encode() + whole[:-10]


async def send_some(client: SocketStream, raw: bytes) -> None:
    """Send until nobody takes more, or the client leaves."""
    with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
        await client.send(raw)


async def leaves(served: Served, raw: bytes, waits: Callable[[], bool], *, is_reset: bool = False) -> None:
    """A client sends a request, and leaves when that waits."""
    async with await anyio.connect_tcp("127.0.0.1", served.port) as client, anyio.create_task_group() as sending:
        sending.start_soon(send_some, client, raw)
        await eventually(waits)
        if is_reset:
            client.extra(anyio.abc.SocketAttribute.raw_socket).setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        sending.cancel_scope.cancel()


@pytest.mark.parametrize("raw", [MODELS, COMPLETION, upload(1_000)], ids=["models", "completion", "upload"])
async def test_while_keys_have_not_been_read(raw: bytes) -> None:
    fakes = FakePools(pool := FakePool(NOWHERE))
    async with serving(fakes, rank_wait_ms=LONG_MS) as served:
        served.gateway.keys._named = {"redis": None}
        served.gateway.readiness._knows_keys = anyio.Event()
        waiting = served.gateway.rank_wait
        await leaves(served, raw, lambda: waiting.waiting == 1)
        await eventually(lambda: waiting.waiting == 0 and nothing_is_held(served, pool))
        page = (await served.client.get("/metrics")).text
    assert 'status="499"' in page
    assert 'status="401"' not in page


@pytest.mark.parametrize("raw", [MODELS, COMPLETION, upload(1_000)], ids=["models", "completion", "upload"])
async def test_while_pools_are_not_known(raw: bytes) -> None:
    fakes = FakePools(pool := FakePool(NOWHERE))
    fakes.ready = False
    async with serving(fakes, rank_wait_ms=LONG_MS) as served:
        waiting = served.gateway.rank_wait
        await leaves(served, raw, lambda: waiting.waiting == 1)
        await eventually(lambda: waiting.waiting == 0 and nothing_is_held(served, pool))
        fakes.ready = True


@pytest.mark.parametrize(
    ("raw", "is_reset"),
    [(COMPLETION, False), (upload(1_000), False), (upload(20_000_000), True)],
    ids=["completion", "upload", "upload that is not taken in"],
)
async def test_while_there_is_no_rank(raw: bytes, is_reset: bool) -> None:
    pool = FakePool(NOWHERE, answer=Reject(reason="no rank of sim is up"))
    async with serving(FakePools(pool), rank_wait_ms=LONG_MS) as served:
        waiting = served.gateway.rank_wait
        await leaves(served, raw, lambda: waiting.waiting == 1, is_reset=is_reset)
        await eventually(lambda: waiting.waiting == 0 and nothing_is_held(served, pool))
    assert pool.releases() == {}


class SlowLimits:
    """Limits that nobody is told; `asking` is how many wait for them."""

    gateways = 1

    def __init__(self) -> None:
        self.counters = Counter[str]()
        self.asked = self.asking = 0

    async def ask(self, name: str, limits: Limits, tokens: int) -> Answer:
        self.asked += 1
        self.asking += 1
        try:
            await anyio.sleep_forever()
            raise AssertionError
        finally:
            self.asking -= 1


@asynccontextmanager
async def slowly_limited() -> AsyncIterator[tuple[Served, SlowLimits, FakePool]]:
    limits = SlowLimits()
    async with serving(FakePools(pool := FakePool(NOWHERE)), limits=limits) as served:
        served.gateway.keys.replace("test", by_digest(named("team", requests_per_minute=1)))
        yield served, limits, pool


@pytest.mark.parametrize(
    ("raw", "is_reset"),
    [(COMPLETION, False), (upload(1_000), False), (upload(20_000_000), True)],
    ids=["completion", "upload", "upload that is not taken in"],
)
async def test_while_the_limit_of_its_key_is_asked_for(raw: bytes, is_reset: bool) -> None:
    async with slowly_limited() as (served, limits, pool):
        await leaves(served, raw, lambda: limits.asking == 1, is_reset=is_reset)
        await eventually(lambda: limits.asking == 0 and nothing_is_held(served, pool))
    assert (limits.asked, pool.asked) == (1, [])
