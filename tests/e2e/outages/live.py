"""Streams that are open all the while: nobody may reap them."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import httpx

from tests.polling import until_now

TOKENS = 20_000
"""More than any test waits for."""
PATIENCE_S = 30.0


class LiveStream:
    """A stream that a thread reads; `events` came so far, `problem` is why no more do."""

    def __init__(self, gateway: str) -> None:
        self.events = 0
        self.problem = ""
        self._gateway = gateway
        self._ended = False

    def read(self) -> None:
        """Until told to end, or it breaks off."""
        body = {"model": "sim", "prompt": "A long one", "max_tokens": TOKENS, "ignore_eos": True, "stream": True}
        with httpx.Client(trust_env=False, timeout=PATIENCE_S) as client:
            try:
                with client.stream("POST", f"{self._gateway}/v1/completions", json=body) as answer:
                    for line in answer.iter_lines():
                        if self._ended:
                            return
                        if line.startswith("data: {") and not self._count(json.loads(line[6:])):
                            return
                    self.problem = f"{answer.status_code}: it ended after {self.events} events"
            except httpx.HTTPError as error:
                self.problem = f"{error!r} after {self.events} events"

    def _count(self, event: dict[str, Any]) -> bool:
        self.events += "choices" in event
        self.problem = str(event.get("error", ""))
        return not self.problem

    def end(self) -> None:
        """Its client leaves with the next event."""
        self._ended = True

    def goes_on(self) -> None:
        """Waits for more of it."""
        seen = self.events

        def more() -> bool:
            assert not self.problem, self.problem
            return self.events > seen

        until_now(more, "the stream goes on")


@contextmanager
def live_streams(gateways: Sequence[str]) -> Iterator[list[LiveStream]]:
    """One through each gateway, begun; their clients leave with the block's end."""
    streams = [LiveStream(gateway) for gateway in gateways]
    with ExitStack() as ending:
        for stream in streams:
            thread = threading.Thread(target=stream.read, name="live stream")
            thread.start()
            ending.callback(thread.join)
            ending.callback(stream.end)
        for stream in streams:
            stream.goes_on()
        yield streams
