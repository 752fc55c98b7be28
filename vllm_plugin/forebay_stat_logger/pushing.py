"""Pushes the engines of one process: takes in what vLLM reports of each, and sends it on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from typing import Any

from forebay_stat_logger.identity import listening_ports, this_process
from forebay_stat_logger.sender import Sender
from forebay_stat_logger.totals import Totals
from forebay_stat_logger.wire import datagram, head

_RESTATED_AFTER_S = 0.05


class EnginePush:
    """One engine: its totals, and how many datagrams it has had."""

    __slots__ = ("at_ns", "head", "index", "seq", "totals")

    def __init__(self, index: int) -> None:
        self.index = index
        self.totals = Totals()
        self.head = b""
        self.seq = 0
        self.at_ns = 0


class Pushing:
    """All engines that one API server process hears of; `api_index` of `api_count` such processes.

    The ports that the process listens on are looked up until it has served a request: then it listens on all of them.
    """

    def __init__(self, engines: Iterable[int], sender: Sender, api_index: int = 0, api_count: int = 1) -> None:
        self._engines = {index: EnginePush(index) for index in engines}
        self._sender = sender
        self._process = this_process(api_index, api_count)
        self._has_served = False
        self._is_to_restate = False
        self._is_closed = False
        self._introduce()

    def record(self, load: Any, iteration: Any, index: int) -> None:
        """Take in one report, either part of which may be None, and push it. An unknown engine's is left."""
        engine = self._engines.get(index)
        if engine is None:
            return
        engine.at_ns = time.monotonic_ns()
        if load is not None:
            engine.totals.take_load(load, engine.at_ns)
        if iteration is not None:
            engine.totals.take_iteration(iteration)
            if not self._has_served:
                self._has_served = True
                self._introduce()
        self._send(engine)

    def set_awake(self, *, awake: bool) -> None:
        """Hear that the engines fell asleep or woke up, and push it: an idle one would not be heard otherwise."""
        now_ns = time.monotonic_ns()
        for engine in self._engines.values():
            engine.totals.awake = int(awake)
            engine.totals.awake_at_ns = engine.at_ns = now_ns
        self.restate()

    def restate(self) -> None:
        """Push each engine as it was last: an agent that was restarted, or missed the last datagram, hears it."""
        if not self._has_served:
            self._introduce()
        for engine in self._engines.values():
            self._send(engine)

    def close(self) -> None:
        """Push no more."""
        self._is_closed = True
        self._sender.close()

    def _introduce(self) -> None:
        process = self._process._replace(ports=listening_ports())
        for engine in self._engines.values():
            engine.head = head(process, engine.index)

    def _send(self, engine: EnginePush) -> None:
        raw = datagram(engine.head, engine.totals, engine.seq, self._sender.dropped, engine.at_ns)
        engine.seq += 1
        if not self._sender.send(raw) and not self._is_to_restate:
            self._restate_later()

    def _restate_later(self) -> None:
        """The last datagram before an engine falls idle must not be lost: nothing would follow it for ten seconds."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return
        self._is_to_restate = True
        loop.call_later(_RESTATED_AFTER_S, self._restate_dropped)

    def _restate_dropped(self) -> None:
        self._is_to_restate = False
        if not self._is_closed:
            self.restate()
