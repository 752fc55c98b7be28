"""What may happen while a request is with its rank, or waits for another: clients leave, ranks stall and go down."""

import gc
from collections.abc import Callable

import anyio
import anyio.lowlevel
import pytest

from gateway.errors import RankErrorAnswerError
from scheduler.messages import RankState
from tests.gateway.fake_pools import FakePoolView, FakeRankView
from tests.gateway.running import COMPLETIONS, eventually
from tests.gateway.scripted_pair import answers
from tests.gateway.scripted_rank import COMPLETION, EVENTS, NO_MORE, STREAM_HEAD, Exchange, breaks_off, chunk, stalls
from tests.gateway.scripted_ranks import Ranks, scripted_ranks

STREAM = b"".join(EVENTS)


async def is_left_while(ranks: Ranks, holds: Callable[[], bool]) -> None:
    """A client asks, and leaves once something holds."""
    async with anyio.create_task_group() as client:

        async def leave() -> None:
            await eventually(holds)
            client.cancel_scope.cancel()

        client.start_soon(leave)
        await ranks.served.complete()
    await eventually(ranks.nothing_is_held)


async def test_a_client_that_leaves_while_its_request_waits_ends_the_wait_and_nothing_is_held(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gateway.backoff.BASE_S", 3_600.0)
    async with scripted_ranks(breaks_off) as ranks:
        # What has failed is no load any more, however long the wait.
        await is_left_while(ranks, lambda: ranks.names() == "A" and not ranks.pool.live and ranks.pool.words() != [])
    assert ranks.names() == "A"
    assert ranks.pool.releases() == {1: 1}
    assert ranks.pool.moved == []


async def test_a_client_that_leaves_while_its_request_is_placed_anew_leaves_nothing() -> None:
    async with scripted_ranks(breaks_off) as ranks:
        ranks.pool.stalls_from = 2
        await is_left_while(ranks, lambda: ranks.pool.stalled == 1)
    assert ranks.pool.moved == [1]
    assert ranks.pool.given_back == 1


async def test_a_client_that_leaves_during_a_retry_closes_it_and_nothing_is_held() -> None:
    async with scripted_ranks(breaks_off, stalls) as ranks:
        await is_left_while(ranks, lambda: ranks.names() == "AB")
        await eventually(lambda: ranks.second.open_connections == 0)
    assert ranks.pool.releases() == {1: 1, 2: 1}


async def test_what_a_rank_has_said_of_a_request_is_not_kept_while_the_next_one_serves_it() -> None:
    async with scripted_ranks(answers(b"x" * 1_000_000, "500 Oh no"), stalls) as ranks:

        def is_with_the_second() -> bool:
            return ranks.names() == "AB" and not any(isinstance(one, RankErrorAnswerError) for one in gc.get_objects())

        await is_left_while(ranks, is_with_the_second)


def stall(ranks: Ranks, name: str) -> None:
    view = ranks.pool.view.ranks
    ranks.pool.view = FakePoolView({**view, name: FakeRankView(view[name].card, RankState.STALLED)})


@pytest.mark.parametrize("stream", [False, True])
async def test_a_rank_that_stalls_is_given_up_while_the_client_has_nothing(stream: bool) -> None:
    async with scripted_ranks(stalls) as ranks, anyio.create_task_group() as tasks:
        ranks.served.gateway.lost_ranks.grace_s = 0.0
        tasks.start_soon(once, lambda: ranks.names() == "A", lambda: stall(ranks, "A"))
        response = await ranks.served.complete(stream=stream)
    assert response.content == (STREAM if stream else COMPLETION)
    assert ranks.names() == "AB"


async def once(holds: Callable[[], bool], act: Callable[[], None]) -> None:
    await eventually(holds)
    act()


async def test_a_stream_that_has_begun_bears_that_its_rank_stalls() -> None:
    seen = anyio.Event()

    async def pauses(exchange: Exchange) -> None:
        await exchange.send(STREAM_HEAD, chunk(EVENTS[0]))
        await seen.wait()
        await exchange.send(chunk(EVENTS[1]), chunk(EVENTS[2]), NO_MORE)

    async with scripted_ranks(pauses) as ranks:
        lost = ranks.served.gateway.lost_ranks
        lost.grace_s = 0.0
        body = {"model": "sim", "prompt": "x", "stream": True}
        async with ranks.served.client.stream("POST", COMPLETIONS, json=body) as response:
            parts = response.aiter_bytes()
            assert await anext(parts) == EVENTS[0]
            stall(ranks, "A")
            for _ in range(3):
                lost.look()
                await anyio.lowlevel.checkpoint()
            seen.set()
            rest = b"".join([part async for part in parts])
    assert rest == EVENTS[1] + EVENTS[2]


async def test_a_rank_that_goes_down_in_silence_is_given_up_and_another_asked() -> None:
    async with scripted_ranks(stalls) as ranks, anyio.create_task_group() as tasks:
        ranks.served.gateway.lost_ranks.grace_s = 0.0
        down = FakeRankView(ranks.pool.view.ranks["A"].card, RankState.DOWN)
        views = FakePoolView({**ranks.pool.view.ranks, "A": down})
        tasks.start_soon(once, lambda: ranks.names() == "A", lambda: setattr(ranks.pool, "view", views))
        response = await ranks.served.complete()
    assert response.content == COMPLETION
    assert ranks.names() == "AB"
