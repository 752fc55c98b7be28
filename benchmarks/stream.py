"""One streamed chat completion, measured.

httpx and a few lines for the events: less than half the CPU per chunk of the openai client (115 against 250 µs), which
on one machine would be taken from the gateways and ranks that are measured.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from itertools import pairwise

import httpx
import msgspec


class Answer(msgspec.Struct, kw_only=True):
    """What came of one request; times in seconds of the monotonic clock. `error` is its kind, empty if all is well."""

    sent_s: float
    chunks_s: list[float] = []
    prompt_tokens: int = 0
    completion_tokens: int = 0
    gateway: str = ""
    ranks: tuple[str, ...] = ()
    error: str = ""

    @property
    def ttft_s(self) -> float:
        """To the first chunk with text."""
        return self.chunks_s[0] - self.sent_s

    @property
    def gaps_s(self) -> list[float]:
        """Between chunks with text."""
        return [later - earlier for earlier, later in pairwise(self.chunks_s)]

    @property
    def inter_token_s(self) -> float | None:
        """Mean over the tokens after the first, None for one chunk; too low by the other tokens of the first chunk."""
        if len(self.chunks_s) < 2:
            return None
        return (self.chunks_s[-1] - self.chunks_s[0]) / (self.completion_tokens - 1)


class _Usage(msgspec.Struct):
    prompt_tokens: int
    completion_tokens: int


class _LastChunk(msgspec.Struct):
    usage: _Usage | None = None


class BadStreamError(Exception):
    """The answer is not what was asked for; the message is the kind of error."""


async def stream_chat(client: httpx.AsyncClient, url: str, body: bytes) -> Answer:
    """Send `body` and read the answer to its end; nothing that can go wrong on the way is raised."""
    answer = Answer(sent_s=time.monotonic())
    headers = {"content-type": "application/json", "x-forebay-explain": "1"}
    try:
        async with client.stream("POST", f"{url}/v1/chat/completions", content=body, headers=headers) as response:
            answer.gateway = response.headers.get("x-forebay-gateway", "")
            legs = (response.headers.get(f"x-forebay-{leg}") for leg in ("prefill", "decode"))
            answer.ranks = tuple(rank for rank in legs if rank)
            await _read(response, answer)
    except (httpx.HTTPError, BadStreamError) as error:
        answer.error = str(error) if isinstance(error, BadStreamError) else type(error).__name__
    return answer


async def _read(response: httpx.Response, answer: Answer) -> None:
    if response.status_code != httpx.codes.OK:
        raise BadStreamError(f"status {response.status_code}")
    ended = False
    async for event in events_of(response):
        if event.startswith(b'{"error"'):
            raise BadStreamError("error in the stream")
        if event == b"[DONE]":
            ended = True
        elif b'"choices":[]' in event:
            usage = msgspec.json.decode(event, type=_LastChunk).usage
            if usage:
                answer.prompt_tokens, answer.completion_tokens = usage.prompt_tokens, usage.completion_tokens
        elif b'"content":"' in event and b'"content":""' not in event:
            answer.chunks_s.append(time.monotonic())
    if not ended:
        raise BadStreamError("stream cut")
    if not answer.chunks_s or not answer.completion_tokens:
        raise BadStreamError("empty answer")


async def events_of(response: httpx.Response) -> AsyncIterator[bytes]:
    """The data of each server-sent event."""
    rest = b""
    async for piece in response.aiter_raw():
        *events, rest = (rest + piece).split(b"\n\n")
        for event in events:
            yield event.removeprefix(b"data: ")
    if rest:
        raise BadStreamError("stream cut inside an event")
