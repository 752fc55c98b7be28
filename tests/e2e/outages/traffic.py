"""Clients that ask all gateways at a steady pace, streams and whole answers in turn, and note how each request went."""

from __future__ import annotations

import asyncio
import itertools
import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import httpx

from tests.sse import documents_of

TOKENS = 8
PER_S = 12.0
"""Requests a second to each gateway: enough to hit each moment of an outage, little enough for two cores."""
PATIENCE_S = 30.0


class Outcome(NamedTuple):
    """One request; without a `problem` all of its answer came."""

    gateway: str
    problem: str


class Traffic:
    """`outcomes` grows until the block of `traffic_to` ends; all are there then."""

    def __init__(self, gateways: Sequence[str], per_s: float) -> None:
        self.outcomes: list[Outcome] = []
        self._gateways, self._per_s = gateways, per_s
        self._ended = threading.Event()

    def problems(self) -> list[Outcome]:
        """What did not go well."""
        return [each for each in self.outcomes if each.problem]

    async def run(self) -> None:
        """Sends until told to end, then awaits what is under way."""
        async with httpx.AsyncClient(trust_env=False, timeout=PATIENCE_S) as client, asyncio.TaskGroup() as tasks:
            for turn in itertools.count():
                for gateway in self._gateways:
                    tasks.create_task(self._ask(client, gateway, turn), name=f"request {turn}")
                await asyncio.sleep(1 / self._per_s)
                if self._ended.is_set():
                    return

    def end(self) -> None:
        """No request is begun any more."""
        self._ended.set()

    async def _ask(self, client: httpx.AsyncClient, gateway: str, turn: int) -> None:
        is_stream = turn % 2 == 0
        body = {"model": "sim", "prompt": f"{gateway} {turn}", "max_tokens": TOKENS, "ignore_eos": True}
        body |= {"stream": True, "stream_options": {"include_usage": True}} if is_stream else {}
        try:
            async with client.stream("POST", f"{gateway}/v1/completions", json=body) as answer:
                text = "".join([part async for part in answer.aiter_text()])
            problem = _problem(answer, text, is_stream=is_stream)
        except httpx.HTTPError as error:
            problem = repr(error)
        self.outcomes.append(Outcome(gateway, problem))


def _problem(answer: httpx.Response, text: str, *, is_stream: bool) -> str:
    if answer.status_code != 200:
        return f"{answer.status_code} {text}"
    if not is_stream:
        return "" if json.loads(text)["usage"]["completion_tokens"] == TOKENS else text
    *_, last = documents_of(text) or [{}]
    whole = (last.get("usage") or {}).get("completion_tokens") == TOKENS and text.rstrip().endswith("[DONE]")
    return "" if whole else text


@contextmanager
def traffic_to(gateways: Sequence[str], per_s: float = PER_S) -> Iterator[Traffic]:
    """Traffic until the block ends; then all that was asked is answered."""
    traffic = Traffic(gateways, per_s)
    thread = threading.Thread(target=lambda: asyncio.run(traffic.run()), name="traffic")
    thread.start()
    try:
        yield traffic
    finally:
        traffic.end()
        thread.join()
