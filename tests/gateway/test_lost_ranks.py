"""Attempts at ranks that are lost, though their connections say nothing."""

import anyio
import anyio.lowlevel
import msgspec
import pytest

from gateway.errors import RankFailedError
from gateway.lost_ranks import LostRanks
from scheduler.messages import RankState
from tests.gateway.fake_pools import FakePool, FakePools, FakePoolView, FakeRankView, card
from tests.gateway.running import serving
from tests.gateway.scripted_pair import scripted_pair
from tests.gateway.scripted_rank import EVENTS, STREAM_HEAD, Exchange, chunk, scripted_rank

RANK = card("http://127.0.0.1:9", rank="r")
GRACE_S = 3.0


class Clock:
    """Time that passes when a test says so."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def say(pool: FakePool, state: RankState, incarnation: str = "1", *, of: str = "") -> None:
    """The pool's next snapshot shows its ranks, or one of them, so."""
    views = {
        name: FakeRankView(msgspec.structs.replace(view.card, incarnation=incarnation), state)
        for name, view in pool.view.ranks.items()
        if of in {"", name}
    }
    pool.view = FakePoolView({**pool.view.ranks, **views})


class Answer:
    """An answer whose head is there."""

    awaited_since_s: float | None = None


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def lost(clock: Clock) -> LostRanks:
    return LostRanks(clock, GRACE_S)


async def look_again(lost: LostRanks, clock: Clock, seconds: float) -> None:
    """Looks now and after so long; a cancelled attempt ends at the pause."""
    lost.look()
    clock.now_s += seconds
    lost.look()
    await anyio.lowlevel.checkpoint()


async def attempt(lost: LostRanks, clock: Clock, pool: FakePool, seconds: float, *, bears_stalls: bool = True) -> None:
    """An attempt that hears nothing for so long."""
    with lost.watch(pool, RANK, bears_stalls=lambda: bears_stalls):
        await look_again(lost, clock, seconds)


async def test_an_attempt_at_a_rank_that_is_down_and_silent_fails_after_the_grace(
    lost: LostRanks, clock: Clock
) -> None:
    say(pool := FakePool(RANK), RankState.DOWN)
    await attempt(lost, clock, pool, GRACE_S)
    with pytest.raises(RankFailedError):
        await attempt(lost, clock, pool, GRACE_S + 0.1)


@pytest.mark.parametrize("awaited", [True, False])
async def test_a_rank_that_is_down_and_still_sends_or_need_not_is_heard_to_its_end(
    lost: LostRanks, clock: Clock, awaited: bool
) -> None:
    say(pool := FakePool(RANK), RankState.DOWN)
    answer = Answer()
    with lost.watch(pool, RANK) as watched:
        watched.answers(answer)
        for _ in range(5):
            answer.awaited_since_s = clock.now_s if awaited else None
            await look_again(lost, clock, GRACE_S)


@pytest.mark.parametrize("state", [RankState.UP, RankState.STALLED])
async def test_a_rank_that_is_not_down_is_waited_for(lost: LostRanks, clock: Clock, state: RankState) -> None:
    say(pool := FakePool(RANK), state)
    await attempt(lost, clock, pool, 1_000)


@pytest.mark.parametrize("awaited_since_s", [100.0, None])
async def test_a_leg_that_does_not_bear_stalls_fails_as_soon_as_its_rank_is_said_to_stall(
    lost: LostRanks, clock: Clock, awaited_since_s: float | None
) -> None:
    answer = Answer()
    answer.awaited_since_s = awaited_since_s

    async def attempt_it() -> None:
        with lost.watch(pool, RANK, bears_stalls=lambda: False) as watched:
            watched.answers(answer)
            await look_again(lost, clock, pool.snapshot_age_s)
            say(pool, RankState.STALLED)
            await look_again(lost, clock, 0.0)

    pool = FakePool(RANK)
    with pytest.raises(RankFailedError, match="stalled"):
        await attempt_it()


async def test_a_leg_that_was_placed_since_its_rank_was_said_to_stall_is_left_where_it_is(
    lost: LostRanks, clock: Clock
) -> None:
    say(pool := FakePool(RANK), RankState.STALLED)
    with lost.watch(pool, RANK, bears_stalls=lambda: False):
        for age_s in (0.1, 0.2, 0.3):
            pool.snapshot_age_s = age_s
            await look_again(lost, clock, 0.05)


async def test_a_prefill_is_had_elsewhere_when_its_rank_stalls() -> None:
    begun = anyio.Event()

    async def stalls_once_begun(exchange: Exchange) -> None:
        begun.set()
        await exchange.until_closed()

    async with scripted_pair(stalls_once_begun) as pair, anyio.create_task_group() as tasks:

        async def stall() -> None:
            await begun.wait()
            say(pair.pool, RankState.STALLED, of="P")

        tasks.start_soon(stall)
        response = await pair.served.complete()
    assert response.status_code == 200
    assert pair.names() == ["P", "P2", "D"]


async def test_a_rank_that_left_the_pool_is_waited_for(lost: LostRanks, clock: Clock) -> None:
    pool = FakePool(RANK)
    pool.view = FakePoolView({})
    await attempt(lost, clock, pool, 1_000)


async def test_the_grace_begins_anew_when_a_rank_was_up_meanwhile(lost: LostRanks, clock: Clock) -> None:
    pool = FakePool(RANK)
    with lost.watch(pool, RANK):
        for _ in range(3):
            say(pool, RankState.DOWN)
            await look_again(lost, clock, GRACE_S)
            say(pool, RankState.UP)
            await look_again(lost, clock, 0.1)


async def test_an_attempt_at_a_former_life_fails_after_the_grace_too(lost: LostRanks, clock: Clock) -> None:
    say(pool := FakePool(RANK), RankState.UP, incarnation="2")
    await attempt(lost, clock, pool, GRACE_S)
    with pytest.raises(RankFailedError):
        await attempt(lost, clock, pool, GRACE_S + 0.1)


async def test_a_leg_bears_stalls_from_the_moment_its_client_has_something(lost: LostRanks, clock: Clock) -> None:
    say(pool := FakePool(RANK), RankState.STALLED)
    has_something = True

    async def attempt_it() -> None:
        nonlocal has_something
        with lost.watch(pool, RANK, bears_stalls=lambda: has_something):
            await look_again(lost, clock, GRACE_S)
            has_something = False
            await look_again(lost, clock, 0.0)

    with pytest.raises(RankFailedError, match="stalled"):
        await attempt_it()


async def test_a_client_of_a_rank_that_began_another_life_is_told() -> None:
    begun = anyio.Event()

    async def says_no_more(exchange: Exchange) -> None:
        await exchange.send(STREAM_HEAD, chunk(EVENTS[0]))
        begun.set()
        await exchange.until_closed()

    async with scripted_rank(says_no_more) as rank, serving(FakePools(pool := FakePool(card(rank.url)))) as served:
        served.gateway.lost_ranks.grace_s = 0.0
        async with anyio.create_task_group() as tasks:

            async def restart() -> None:
                await begun.wait()
                say(pool, RankState.UP, incarnation="2")

            tasks.start_soon(restart)
            response = await served.complete(stream=True)
        assert served.gateway.upstream.open_requests == 0
    assert response.content.startswith(EVENTS[0])
    assert b"went down" in response.content
    assert b"[DONE]" not in response.content
    assert pool.words()[-1] == "released"
