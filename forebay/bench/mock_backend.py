"""A backend that is no bottleneck: it says what vLLM would, at the rate it is asked for, and computes nothing."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import partial

import msgspec

from forebay.bench.mock_wire import (
    DONE,
    MOST_TOKENS,
    Asked,
    event_template,
    metrics,
    models,
    usage_event,
    whole_answer,
)
from forebay.bench.settings import ChunkTimes
from forebay.ports import LOOPBACK
from simulator.exchange import Exchange, Request
from simulator.http import Connections, HttpProtocol

KEEP_ALIVE_S = 5.0
"""As vLLM's server has it."""
BACKLOG = 4096
BYTES_PER_TOKEN = 4
CHAT = "/v1/chat/completions"
EVENTS = {(chat, last): event_template(chat=chat, last=last) for chat in (False, True) for last in (False, True)}

_asked = msgspec.json.Decoder(Asked)


class MockRank:
    """One rank of the backend: a port of its own, and what its `/metrics` counts."""

    def __init__(self, chunk_times: ChunkTimes) -> None:
        self.chunk_times = chunk_times
        self.running = 0
        self.steps = 0
        self.prompt_tokens = 0

    def handle(self, request: Request, exchange: Exchange) -> None:
        """Answer one request."""
        arrived_ns = time.monotonic_ns()
        match request.path:
            case "/v1/chat/completions" | "/v1/completions":
                self._complete(request, exchange, arrived_ns)
            case "/metrics":
                page = metrics(running=self.running, steps=self.steps, prompt_tokens=self.prompt_tokens)
                exchange.respond(200, page, "text/plain; version=0.0.4; charset=utf-8")
            case "/v1/models":
                exchange.respond(200, models())
            case "/health":
                exchange.respond(200, b"", None)
            case "/version":
                exchange.respond(200, b'{"version":"0.32.0"}')
            case _:
                exchange.respond(404, b'{"detail":"Not Found"}')

    def _complete(self, request: Request, exchange: Exchange, arrived_ns: int) -> None:
        try:
            asked = _asked.decode(request.body)
        except msgspec.DecodeError as error:
            exchange.respond(400, msgspec.json.encode({"detail": str(error)}))
            return
        if not 1 <= asked.tokens <= MOST_TOKENS:
            exchange.respond(400, b'{"detail":"max_tokens is out of bounds"}')
            return
        chat = request.path == CHAT
        prompt_tokens = len(request.body) // BYTES_PER_TOKEN
        self.prompt_tokens += prompt_tokens
        if asked.stream:
            MockStream(self, exchange, asked, arrived_ns, prompt_tokens, chat=chat).start()
        else:
            self.steps += asked.tokens
            sent_ns = time.monotonic_ns()
            exchange.respond(
                200,
                whole_answer(
                    chat=chat,
                    prompt_tokens=prompt_tokens,
                    tokens=asked.tokens,
                    sent_ns=sent_ns,
                    arrived_ns=arrived_ns,
                ),
            )


class MockStream:
    """One streamed answer; it ends with its last chunk or with its client."""

    def __init__(
        self, rank: MockRank, exchange: Exchange, asked: Asked, arrived_ns: int, prompt_tokens: int, *, chat: bool
    ) -> None:
        self._rank = rank
        self._exchange = exchange
        self._arrived_ns = arrived_ns
        self._left = asked.tokens
        self._interval_s = (asked.seed or 0) / 1e6
        self._template = EVENTS[chat, False]
        self._last_template = EVENTS[chat, True]
        usage = usage_event(chat=chat, prompt_tokens=prompt_tokens, tokens=asked.tokens) if asked.wants_usage else b""
        self._end = (usage, DONE)
        self._loop = asyncio.get_running_loop()
        now_s = self._loop.time()
        # All streams of one rate then have their chunks at the same instants.
        self._due_s = now_s - now_s % self._interval_s if rank.chunk_times == "steps" and self._interval_s else now_s
        self._timer: asyncio.Handle | None = None

    def start(self) -> None:
        """Send the head at once, as vLLM does, and the first chunk after it."""
        self._rank.running += 1
        self._exchange.on_close = self._gone
        self._exchange.start_stream()
        self._timer = self._loop.call_soon(self._tick)

    def _tick(self) -> None:
        self._left -= 1
        self._rank.steps += 1
        template = self._template if self._left else self._last_template
        chunk = self._exchange.frame(template % (time.monotonic_ns(), self._arrived_ns))
        if self._left:
            self._exchange.send(chunk)
            # By the time it is due, not by now: lateness must not add up.
            self._due_s += self._interval_s
            self._timer = self._loop.call_at(self._due_s, self._tick)
        else:
            self._rank.running -= 1
            end = b"".join(self._exchange.frame(event) for event in self._end if event)
            self._exchange.end_stream(chunk + end)

    def _gone(self) -> None:
        self._rank.running -= 1
        if self._timer is not None:
            self._timer.cancel()


async def serve(ports: tuple[int, ...], chunk_times: ChunkTimes, ready: Callable[[str], None]) -> None:
    """Serve one rank on each port until SIGTERM or SIGINT; raises OSError for a port that is taken."""
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    for each in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(each, stopped.set)
    connections = Connections(KEEP_ALIVE_S)
    async with AsyncExitStack() as servers:
        for port in ports:
            protocol = partial(HttpProtocol, MockRank(chunk_times).handle, connections)
            server = await loop.create_server(protocol, LOOPBACK, port, backlog=BACKLOG)
            servers.callback(server.close)
        ready(f"mock backend ready on ports {', '.join(map(str, ports))}")
        await stopped.wait()
    connections.abort_all()
