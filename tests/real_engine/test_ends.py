"""Each way a server ends: what its agent says, what a client gets, and that it serves again when it is back."""

from __future__ import annotations

import signal
import threading
import time

import httpx
import pytest

from tests.polling import until_now
from tests.real_engine.asking import CHAT, COMPLETIONS, PATHS, asked, said, text_of_words
from tests.real_engine.conftest import Told
from tests.real_engine.engine import ANSWER_S, Engine
from tests.real_engine.returning import coming_back
from tests.real_engine.stack import FIRST_BYTE_MS, READY_S, Stack

ENDS_S = FIRST_BYTE_MS / 1000 + READY_S
SIGNALS = [signal.SIGTERM, signal.SIGKILL]


class Client(threading.Thread):
    """Reads one long answer to its end, or to where its connection breaks."""

    def __init__(self, url: str, body: dict[str, object]) -> None:
        super().__init__(name=url)
        self._url, self._body = url, body
        self.status = 0
        self.got = b""
        self.ended_s = 0.0
        self.start()

    def run(self) -> None:
        with httpx.stream("POST", self._url, json=self._body, timeout=ANSWER_S, trust_env=False) as answer:
            for part in answer.iter_raw():
                self.got += part
            self.status = answer.status_code
        self.ended_s = time.monotonic()


def _clients(stack: Stack, engine: Engine, path: str, *, streamed: bool) -> list[Client]:
    body = asked(path, engine.model, text_of_words(20, seed=5), max_tokens=1800, stream=streamed)
    return [Client(gateway + path, body) for gateway in stack.gateways]


@pytest.mark.parametrize("number", SIGNALS)
def test_a_plain_server_that_ends_is_seen_and_every_client_is_answered(
    stack: Stack, plain: Engine, told: Told, number: signal.Signals
) -> None:
    with coming_back(stack, plain):
        streams = _clients(stack, plain, CHAT, streamed=True)
        wholes = _clients(stack, plain, COMPLETIONS, streamed=False)
        until_now(lambda: all(stream.got for stream in streams), "the streams have begun", within_s=READY_S)
        until_now(lambda: plain.running == 4, "the engine works on all", within_s=READY_S)
        ended_s = time.monotonic()
        plain.send_signal(number)
        stack.wait_for(plain, "down")
        told(f"down in the store {time.monotonic() - ended_s:.1f} s after {number.name}")
        for gateway in stack.gateways:
            for path in PATHS:
                refused = stack.post(gateway, path, asked(path, plain.model, "x"))
                assert refused.status_code == 503
        told(f"new requests: {refused.status_code} `{refused.text}`")
        for client in (*streams, *wholes):
            client.join(ENDS_S)
            assert not client.is_alive()
        for stream in streams:
            answer = said(stream.got)
            # The engine aborts what runs at SIGTERM, and says so in its own way.
            assert answer.errors or answer.finish_reason == "abort"
        told(f"streams, {streams[0].ended_s - ended_s:.1f} s after it: finish_reason `{answer.finish_reason}`, "
             f"errors {list(answer.errors)}, [DONE]: {answer.is_complete}")  # fmt: skip
        for whole in wholes:
            assert whole.status in {500, 502, 504} or said(whole.got).finish_reason == "abort"
        told(
            f"whole answers, {wholes[0].ended_s - ended_s:.1f} s after it: {whole.status} `{whole.got.decode()[:400]}`"
        )
        until_now(lambda: stack.status()["reservations"] == 0, "no reservation is left", within_s=READY_S)
