"""What follows from a leg that failed."""

import pytest

from gateway.errors import (
    GatewayError,
    PoolFullError,
    RankFailedError,
    RankNotReachedError,
    RankTimeoutError,
    RankUnreachableError,
    RecomputedError,
)
from gateway.outcome import Trouble
from gateway.retriable import Again, trouble_of
from scheduler.decision import LegKind
from tests.gateway.running import eventually
from tests.gateway.scripted_pair import prefills, scripted_pair
from tests.gateway.scripted_rank import COMPLETION, Exchange, chunk, stalls


@pytest.mark.parametrize(
    ("kind", "error", "trouble"),
    [
        (LegKind.PREFILL, RankUnreachableError, Trouble.PREFILL_FAILED),
        (LegKind.PREFILL, RankFailedError, Trouble.PREFILL_FAILED),
        (LegKind.PREFILL, RankTimeoutError, Trouble.PREFILL_FAILED),
        (LegKind.DECODE, RankUnreachableError, Trouble.DECODE_FAILED),
        (LegKind.DECODE, RankNotReachedError, Trouble.DECODE_FAILED),
        (LegKind.DECODE, RankFailedError, Trouble.DECODE_FAILED),
        (LegKind.DECODE, RankTimeoutError, Trouble.DECODE_FAILED),
        (LegKind.DECODE, RecomputedError, Trouble.RECOMPUTED),
        (LegKind.WHOLE, RecomputedError, Trouble.RECOMPUTED),
        (LegKind.WHOLE, RankUnreachableError, Trouble.UNREACHABLE),
        (LegKind.WHOLE, RankFailedError, Trouble.RANK_FAILED),
        (LegKind.WHOLE, RankTimeoutError, Trouble.SILENT),
        (LegKind.WHOLE, PoolFullError, None),
        (LegKind.PREFILL, PoolFullError, None),
        (LegKind.DECODE, PoolFullError, None),
    ],
)
def test_what_lets_a_request_be_tried_anew(kind: LegKind, error: type[GatewayError], trouble: Trouble | None) -> None:
    assert trouble_of(kind, error("x"), Again.WHATEVER, answer_begun=False) is trouble
    assert trouble_of(kind, error("x"), Again.WHATEVER, answer_begun=True) is None
    never_got_it = error is RankUnreachableError
    assert trouble_of(kind, error("x"), Again.UNREACHED, answer_begun=False) is (trouble if never_got_it else None)


async def test_a_refusal_of_the_prefill_rank_that_breaks_off_is_the_answer() -> None:
    async def begins_to_refuse(exchange: Exchange) -> None:
        head = b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
        await exchange.send(head, chunk(b"data: {}\n\n"))
        exchange.abort()

    async with scripted_pair(begins_to_refuse) as pair:
        response = await pair.served.complete(stream=True)
    assert response.status_code == 400
    assert response.content.startswith(b'data: {}\n\ndata: {"error":')
    assert pair.names() == ["P"]


async def test_a_decode_rank_that_stays_silent_is_counted_and_replaced() -> None:
    # Long enough for the second one to be in time on a busy machine.
    async with scripted_pair(prefills, stalls, first_byte_ms=2_000) as pair:
        response = await pair.served.complete()
        page = (await pair.served.client.get("/metrics")).text
    assert response.content == COMPLETION
    assert pair.names() == ["P", "P2", "D", "D2"]
    assert 'forebay_gateway_rank_errors_total{error="RankTimeoutError",pool="sim"} 1.0' in page


async def test_a_decode_rank_that_was_silent_is_not_bound_to_either() -> None:
    async with scripted_pair(prefills, stalls, first_byte_ms=500) as pair:
        # The second time it is the only one that is left.
        pair.pool.rebinds = [pair.pool.view.ranks["D"].card] * 2
        response = await pair.served.complete()
        await eventually(pair.nothing_is_held)
    assert response.status_code == 504
    assert len(pair.decode.requests) == 1
    assert set(pair.pool.releases().values()) == {1}
