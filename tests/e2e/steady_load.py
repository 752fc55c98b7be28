"""Clients that send a few requests a second, streamed and not, and know what every answer has to be."""

from __future__ import annotations

import asyncio
import itertools

import httpx

from tests.sse import events_of

COMPLETIONS = "/v1/completions"
PAUSE_S = 0.15
PATIENCE_S = 60.0
PROMPTS = tuple(f"Tell me story {number} of the mill at the forebay, " * 12 for number in range(6))
TOKENS = (8, 24, 120)


class SteadyLoad:
    """`urls`: the gateways that clients may be sent to now. `failures`: what went wrong, in words."""

    def __init__(self, urls: list[str]) -> None:
        self.urls = urls
        self.answered = 0
        self.failures: list[str] = []
        self.under_way = 0
        self._expected: dict[tuple[str, int], str] = {}

    async def learn(self, rank_url: str) -> None:
        """Has a rank say what the answers are: a simulated one gives one prompt one answer."""
        async with httpx.AsyncClient(trust_env=False, timeout=PATIENCE_S) as client:
            for prompt, tokens in itertools.product(PROMPTS, TOKENS):
                answer = await client.post(rank_url + COMPLETIONS, json=_body(prompt, tokens, stream=False))
                self._expected[prompt, tokens] = answer.json()["choices"][0]["text"]

    async def run(self) -> None:
        """Sends until cancelled; what is under way then is waited for."""
        async with asyncio.TaskGroup() as clients:
            try:
                for number in itertools.count():
                    clients.create_task(self._request(number), name=f"request {number}")
                    await asyncio.sleep(PAUSE_S)
            except asyncio.CancelledError:
                return

    async def _request(self, number: int) -> None:
        url = self.urls[number % len(self.urls)]
        prompt, tokens = PROMPTS[number % len(PROMPTS)], TOKENS[number // 2 % len(TOKENS)]
        stream = bool(number % 3)
        self.under_way += 1
        try:
            async with httpx.AsyncClient(trust_env=False, timeout=PATIENCE_S) as client:
                answer = await client.post(url + COMPLETIONS, json=_body(prompt, tokens, stream=stream))
            text = _text(answer, stream=stream) if answer.status_code == 200 else ""
            if text != self._expected[prompt, tokens]:
                self.failures.append(f"request {number} by {url}: {answer.status_code} {answer.text[-300:]}")
        except (httpx.HTTPError, ValueError, LookupError) as error:
            self.failures.append(f"request {number} by {url}: {error!r}")
        finally:
            self.answered += 1
            self.under_way -= 1


def _body(prompt: str, tokens: int, *, stream: bool) -> dict[str, object]:
    return {"model": "sim", "prompt": prompt, "max_tokens": tokens, "ignore_eos": True, "stream": stream}


def _text(answer: httpx.Response, *, stream: bool) -> str:
    if not stream:
        text: str = answer.json()["choices"][0]["text"]
        return text
    events = events_of(answer.text)
    return "".join(choice["text"] for event in events for choice in event["choices"])
