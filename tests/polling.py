"""Waiting for something to become true, never for time to pass."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable

PATIENCE_S = 10.0
PAUSE_S = 0.002


async def until(holds: Callable[[], bool | Awaitable[bool]], what: str, *, within_s: float = PATIENCE_S) -> None:
    """Returns as soon as `holds()` is true, which may be awaitable; fails with `what` after `within_s`."""
    deadline = time.monotonic() + within_s
    while True:
        answer = holds()
        if await answer if inspect.isawaitable(answer) else answer:
            return
        assert time.monotonic() < deadline, f"not within {within_s:g} s: {what}"
        await asyncio.sleep(PAUSE_S)


def until_now(holds: Callable[[], bool], what: str, *, within_s: float = PATIENCE_S, pause_s: float = PAUSE_S) -> None:
    """The same without an event loop, asking every `pause_s`."""
    deadline = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < deadline, f"not within {within_s:g} s: {what}"
        time.sleep(pause_s)
