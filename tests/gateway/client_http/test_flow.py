"""What is sent past the application waits for its client, and never begins again for one that is gone."""

import asyncio

import pytest

from gateway.client_http.flow import Flow


class Full(asyncio.Transport):
    """A connection on which something lies unread."""

    def get_write_buffer_size(self) -> int:
        return 1

    def is_closing(self) -> bool:
        return False

    def can_write_eof(self) -> bool:
        return True


class Rank:
    """What a stream comes from."""

    is_waiting = False

    def pause(self) -> None:
        self.is_waiting = True

    def resume(self) -> None:
        self.is_waiting = False


@pytest.fixture
async def flow() -> Flow:
    return Flow(Full(), 60)


@pytest.fixture
def rank() -> Rank:
    return Rank()


async def test_a_rank_waits_while_its_client_does_not_read(flow: Flow, rank: Rank) -> None:
    flow.follow(rank)
    flow.pause_writing()
    assert rank.is_waiting
    flow.resume_writing()
    assert not rank.is_waiting


@pytest.mark.parametrize("reads", [True, False])
async def test_a_rank_whose_client_is_gone_sends_no_more_until_its_request_ends(
    flow: Flow, rank: Rank, reads: bool
) -> None:
    """On uvloop a write to a connection that is no more is an error, and the log had its traceback."""
    flow.follow(rank)
    if not reads:
        flow.pause_writing()
    flow.end()
    assert rank.is_waiting
    flow.resume_writing()  # as uvicorn calls it when a connection is lost, for tasks that wait in `drain`
    assert rank.is_waiting


async def test_nor_does_one_that_would_begin_then(flow: Flow, rank: Rank) -> None:
    flow.end()
    flow.follow(rank)
    assert rank.is_waiting
