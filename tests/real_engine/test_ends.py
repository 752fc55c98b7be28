"""Each way a server ends with requests in it: what its agent says, what clients get, and that it serves again."""

from __future__ import annotations

import signal
import time
from functools import partial
from itertools import count, product

import httpx
import pytest

from tests.polling import until_now
from tests.real_engine.asking import CHAT, COMPLETIONS, PATHS, asked, said, text_of_words
from tests.real_engine.clients import Client, alive, ask_all, wait_for_all, wait_until_one_has_begun
from tests.real_engine.conftest import Engines, Told
from tests.real_engine.engine import Engine
from tests.real_engine.resting import is_at_rest, nothing_is_reserved
from tests.real_engine.returning import coming_back
from tests.real_engine.stack import READY_S, Stack, legs_of

SIGNALS = [signal.SIGTERM, signal.SIGKILL]
WORDS = 250
"""A prompt worth two legs."""
LONG_OUT = 3000
"""Tokens of answers that take seconds."""

every_end = pytest.mark.parametrize("number", SIGNALS, ids=[each.name for each in SIGNALS])


@every_end
@pytest.mark.parametrize("role", ["plain", "decode"])
def test_a_server_that_ends_is_seen_and_every_client_is_told(
    stack: Stack, engines: Engines, told: Told, role: str, number: signal.Signals
) -> None:
    engine: Engine = getattr(engines, role)
    with coming_back(stack, engine):
        # The first few at once made the server send nobody anything for seconds: then a stream begins and ends in one.
        wait_for_all(ask_all(stack, engine.model, words=100, seed=190, stream=True))
        streams = ask_all(stack, engine.model, words=100, seed=200, max_tokens=LONG_OUT, stream=True)
        # No longer: a pull may take many seconds, in which the streams that have begun would end.
        wait_until_one_has_begun(streams)
        with engine.held():
            clients = streams + ask_all(stack, engine.model, words=100, seed=210, max_tokens=LONG_OUT)
            until_now(lambda: engine.load == alive(clients), "the server has all of them", within_s=READY_S)
            cut = [client for client in clients if client.is_alive()]
            begun = [client for client in cut if client.status == 200 and client.got]
            assert begun, [(client.status, client.got[-200:]) for client in clients]
            ended_s = _end(engine, number)
        late = ask_all(stack, engine.model, words=100, seed=220)
        stack.wait_for(engine, "down")
        told(f"{len(cut)} requests in it, {len(begun)} begun; down in the store {_since(ended_s)} after {number.name}")
        _is_refused(stack, engine, told)
        wait_for_all([*clients, *late])
        untold = [client for client in (*cut, *late) if not _is_told(client)]
        assert not untold, [(client.status, client.got[-200:]) for client in untold]
        rest = [client for client in cut if client not in begun]
        for what, which in (("streams begun", begun), ("the others", rest), ("asked at that moment", late)):
            told(_told(what, which, ended_s))
        nothing_is_reserved(stack)
    if role == "decode":
        _pulls_again(stack, engines, seed=600 + 100 * SIGNALS.index(number))


@every_end
def test_a_prefill_server_that_ends_is_seen_and_every_client_gets_its_text(
    stack: Stack, engines: Engines, told: Told, number: signal.Signals
) -> None:
    prefill, seed = engines.prefill, 300 + 100 * SIGNALS.index(number)
    with coming_back(stack, prefill):
        with prefill.held():
            clients = ask_all(stack, "pair", WORDS, seed, stream=True) + ask_all(stack, "pair", WORDS, seed + 10)
            until_now(lambda: prefill.load == alive(clients), "all that wait are in the server", within_s=READY_S)
            in_it = alive(clients)
            assert in_it
            ended_s = _end(prefill, number)
        clients += ask_all(stack, "pair", WORDS, seed + 20)
        stack.wait_for(prefill, "down")
        told(f"{in_it} requests in it; down in the store {_since(ended_s)} after {number.name}")
        for gateway in stack.gateways:
            answer = stack.post(gateway, CHAT, asked(CHAT, "pair", text_of_words(WORDS, seed)))
            assert (answer.status_code, legs_of(answer)) == (200, "by the decode server alone")
        wait_for_all(clients)
        for client in clients:
            assert (client.status, client.said.errors, client.said.is_complete) == (200, (), True)
            assert client.said.text == _own_text(engines, client.path, client.body)
        slowest_s = max(client.ended_s for client in clients) - ended_s
        told(f"all {len(clients)} answered with the plain server's text, the last {slowest_s:.1f} s after it")
        nothing_is_reserved(stack)
    _pulls_again(stack, engines, seed + 50)


def _is_told(client: Client) -> bool:
    """Whether a client can see that its answer is none, or is cut short: by our words, or the engine's own with a 500,
    which it does not find for all of its requests.
    """
    return client.status in {500, 502, 503} if client.status != 200 else bool(client.said.errors)


def _end(engine: Engine, number: signal.Signals) -> float:
    """Sends the signal; returns the time."""
    engine.send_signal(number)
    return time.monotonic()


def _since(then_s: float) -> str:
    return f"{time.monotonic() - then_s:.1f} s"


def _is_refused(stack: Stack, engine: Engine, told: Told) -> None:
    """Every gateway comes to know that nobody is there; before, its error is the connection's."""
    answers: list[httpx.Response] = []

    def is_refused(url: str, path: str) -> bool:
        answers.append(stack.post(url, path, asked(path, engine.model, "x")))
        assert answers[-1].status_code in {502, 503}
        return answers[-1].status_code == 503

    for target in product(stack.gateways, PATHS):
        until_now(partial(is_refused, *target), f"{target[0]} knows that the server is down", within_s=READY_S)
    told(f"new requests: {answers[-1].status_code} `{answers[-1].text}`")


def _told(what: str, clients: list[Client], ended_s: float) -> str:
    """How these clients' answers ended, for the report."""
    ends = {
        f"{client.status} {'; '.join(client.said.errors) or client.said.finish_reason or 'nothing'}"
        for client in clients
    }
    return f"{what}, the last {max(each.ended_s for each in clients) - ended_s:.1f} s after it: {sorted(ends)}"


def _own_text(engines: Engines, path: str, body: dict[str, object]) -> str:
    """What the plain server says to the same."""
    return said(engines.plain.post(path, body | {"model": "plain", "stream": False}).content).text


def _pulls_again(stack: Stack, engines: Engines, seed: int) -> None:
    """The pair, of which one server is new, serves in two legs again, and rightly."""
    seeds = count(seed)
    for gateway in stack.gateways:

        def is_in_two_legs(gateway: str = gateway) -> bool:
            body = asked(COMPLETIONS, "pair", text_of_words(WORDS, next(seeds)))
            answer = stack.post(gateway, COMPLETIONS, body)
            assert answer.status_code == 200, answer.text
            assert said(answer.content).text == _own_text(engines, COMPLETIONS, body)
            return legs_of(answer) == "in two legs"

        until_now(is_in_two_legs, f"{gateway} serves in two legs again", within_s=READY_S)
    is_at_rest(stack, engines)
