"""What vLLM hands a stat logger, in its own shape; and a socket that takes what is pushed."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any


def load(**changes: Any) -> SimpleNamespace:
    """SchedulerStats of vLLM 0.32, of a step that looked nothing up."""
    values: dict[str, Any] = {
        "num_running_reqs": 0,
        "num_waiting_reqs": 0,
        "num_skipped_waiting_reqs": 0,
        "kv_cache_usage": 0.0,
        "prefix_cache_stats": SimpleNamespace(queries=0, hits=0),
        "connector_prefix_cache_stats": None,
    }
    return SimpleNamespace(**values | changes)


def iteration(**changes: Any) -> SimpleNamespace:
    """IterationStats of vLLM 0.32, of a step with one token."""
    values: dict[str, Any] = {
        "num_generation_tokens": 1,
        "num_preempted_reqs": 0,
        "prompt_token_stats": SimpleNamespace(total=0, computed=0),
        "time_to_first_tokens_iter": [],
        "finished_requests": [],
    }
    return SimpleNamespace(**values | changes)


def load_0_11(**changes: Any) -> SimpleNamespace:
    """SchedulerStats of vLLM 0.11.1, which loaded stat loggers first."""
    values: dict[str, Any] = {
        "num_running_reqs": 0,
        "num_waiting_reqs": 0,
        "kv_cache_usage": 0.0,
        "prefix_cache_stats": SimpleNamespace(queries=0, hits=0),
        "connector_prefix_cache_stats": None,
    }
    return SimpleNamespace(**values | changes)


def iteration_0_11(**changes: Any) -> SimpleNamespace:
    """IterationStats of vLLM 0.11.1."""
    values: dict[str, Any] = {
        "num_generation_tokens": 1,
        "num_prompt_tokens": 0,
        "num_preempted_reqs": 0,
        "time_to_first_tokens_iter": [],
        "finished_requests": [],
    }
    return SimpleNamespace(**values | changes)


class Taker:
    """A bound socket of an agent's."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        self.socket.setblocking(False)

    def raw(self) -> list[bytes]:
        """Every datagram that has come since."""
        found = []
        while True:
            try:
                found.append(self.socket.recv(65_536))
            except BlockingIOError:
                return found

    def taken(self) -> list[dict[str, Any]]:
        return [json.loads(datagram) for datagram in self.raw()]

    def close(self) -> None:
        self.socket.close()
        self.path.unlink(missing_ok=True)


@contextmanager
def taker(path: Path) -> Iterator[Taker]:
    taking = Taker(path)
    try:
        yield taking
    finally:
        taking.close()
