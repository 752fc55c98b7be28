"""Clients that read their answers at the same time, each in a thread of its own."""

from __future__ import annotations

import json
import threading
import time
from typing import Any

import httpx

from tests.polling import until_now
from tests.real_engine.asking import PATHS, Said, asked, said, text_of_words
from tests.real_engine.engine import ANSWER_S
from tests.real_engine.stack import READY_S, Stack


class Client(threading.Thread):
    """Reads one answer to its end, or to where its connection breaks."""

    def __init__(self, gateway: str, path: str, body: dict[str, Any]) -> None:
        super().__init__(name=gateway + path)
        self.path, self.body = path, body
        self.status = 0
        self.got = b""
        self.ended_s = 0.0
        self.start()

    def run(self) -> None:
        with httpx.stream("POST", self.name, json=self.body, timeout=ANSWER_S, trust_env=False) as answer:
            self.status = answer.status_code
            for part in answer.iter_raw():
                self.got += part
        self.ended_s = time.monotonic()

    @property
    def said(self) -> Said:
        """What its answer says; one that is refused has an error only."""
        if self.status == 200:
            return said(self.got)
        return Said("", "", None, errors=(str(json.loads(self.got)["error"]["message"]),))


def ask_all(stack: Stack, model: str, words: int, seed: int, **more: Any) -> list[Client]:
    """One client for each gateway and API, each with a text of so many words of its own."""
    targets = [(gateway, path) for gateway in stack.gateways for path in PATHS]
    return [
        Client(gateway, path, asked(path, model, text_of_words(words, seed + number), **more))
        for number, (gateway, path) in enumerate(targets)
    ]


def wait_for_all(clients: list[Client]) -> None:
    """Returns when every client has its answer."""
    for client in clients:
        client.join(ANSWER_S)
        assert not client.is_alive(), f"{client.name} still waits"


def wait_until_one_has_begun(clients: list[Client]) -> None:
    """Returns when a client has read something of an answer, not of a refusal."""
    until_now(
        lambda: any(client.status == 200 and client.got for client in clients), "a stream has begun", within_s=READY_S
    )


def alive(clients: list[Client]) -> int:
    """How many of them still wait or read."""
    return sum(client.is_alive() for client in clients)
