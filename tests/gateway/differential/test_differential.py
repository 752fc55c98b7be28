"""Any request and any answer: through the gateway a client gets what it would get of the rank itself."""

import asyncio
import json
from http import HTTPStatus

import pytest
from hypothesis import HealthCheck, given, settings

from gateway import sse
from tests.gateway.differential.behaviours import JSON, Behaviour, cut
from tests.gateway.differential.playing_rank import PlayingRank, playing_rank
from tests.gateway.differential.reading_client import Answer, ReadingClient
from tests.gateway.differential.requests import Ask, Talk, talks
from tests.gateway.fake_pools import FakePool, FakePools, card
from tests.gateway.running import checked_error, eventually, nothing_is_held, serving
from tests.sse import event_of

EXAMPLES = 100


async def test_through_the_gateway_an_answer_is_what_it_is_without_one(monkeypatch: pytest.MonkeyPatch) -> None:
    # The only rank fails as often as it is asked.
    monkeypatch.setattr("gateway.backoff.BASE_S", 0.0)
    monkeypatch.setattr("gateway.retry_budget.FLOOR", 1 << 30)
    async with playing_rank() as rank:
        pool = FakePool(card(f"http://127.0.0.1:{rank.port}"))
        async with serving(FakePools(pool)) as served:

            @given(talks())
            @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
            def holds(talk: Talk) -> None:
                compare(talk, rank, served.port)

            await asyncio.to_thread(holds)
            await eventually(lambda: nothing_is_held(served, pool))
    assert set(pool.releases().values()) == {1}


def compare(talk: Talk, rank: PlayingRank, port: int) -> None:
    rank.table = [ask.behaviour for ask in talk.asks]
    directly = [answer_of(ask, number, rank.port) for number, ask in enumerate(talk.asks)]
    rank.bodies.clear()
    for number, answer in enumerate(answers_of(talk, port)):
        ask, direct = talk.asks[number], directly[number]
        check_body(rank.bodies[number], ask.body)
        if ask.behaviour.is_event_stream and direct.status:
            check_stream(direct, answer, ask.behaviour)
        elif direct.is_complete and not is_none(direct):
            assert answer == direct
        else:
            assert answer.is_complete
            assert checked_error(answer.status, answer.body)["code"] == 502


def is_none(answer: Answer) -> bool:
    """Whether a rank says that all is well and then nothing, or what is not the JSON that it says it is."""
    if answer.status != HTTPStatus.OK:
        return False
    if not answer.content_type:
        return not answer.body
    try:
        json.loads(answer.body)
    except ValueError:
        return answer.content_type == JSON.encode()
    return False


def check_body(received: bytes, sent: bytes) -> None:
    """What has escapes may be written anew, because what no client may send could be spelled with them; what asks for
    a stream is, for the rank is to tell its usage.
    """
    if received != sent:
        had, has = json.loads(sent), json.loads(received)
        assert b"\\u00" in sent or had["stream"]
        assert has in (had, had | {"stream_options": {"include_usage": True}})


def check_stream(direct: Answer, answer: Answer, behaviour: Behaviour) -> None:
    """Whole events up to where the rank broke off, and then an error; a chunk that is broken off may be missing."""
    assert (answer.status, answer.content_type, answer.is_complete) == (direct.status, direct.content_type, True)
    # A stream that ends with its connection looks complete wherever it ends; the gateway wants a first event.
    if direct.is_complete and (whole_events(direct.body) or answer.body == direct.body):
        assert answer.body == direct.body
        return
    *events, error = sse.events_of(answer.body)
    assert event_of(error.decode())["error"]["code"] == 502
    passed = b"".join(events)
    assert direct.body.startswith(passed)
    assert passed in (whole_events(behaviour.whole_chunks), whole_events(direct.body))


def whole_events(stream: bytes) -> bytes:
    ends = [found.end() for found in sse.EVENT_END.finditer(stream)]
    return stream[: ends[-1]] if ends else b""


def answer_of(ask: Ask, number: int, port: int) -> Answer:
    with ReadingClient(port) as client:
        client.send([ask.plain(number)])
        return client.answer(ask.method)


def answers_of(talk: Talk, port: int) -> list[Answer]:
    methods = [ask.method for ask in talk.asks]
    with ReadingClient(port) as client:
        if talk.pipelined:
            client.send(cut(talk.sent_together[0], list(talk.cuts)))
            return [client.answer(method) for method in methods]
        answers = []
        for wire, method in zip(talk.sent_together, methods, strict=True):
            client.send(cut(wire, [at for at in talk.cuts if at < len(wire)]))
            answers.append(client.answer(method))
        return answers
