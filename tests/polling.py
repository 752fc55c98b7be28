"""Waiting for something to become true, never for time to pass."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable

PATIENCE_S = 30.0
"""For a busy machine; what holds is found at once."""
PAUSE_S = 0.002
RESTING_TURNS, TURN_S = 10, 0.01


async def until(
    holds: Callable[[], bool | Awaitable[bool]], what: str, *, within_s: float = PATIENCE_S, pause_s: float = PAUSE_S
) -> None:
    """Returns as soon as `holds()` is true, which may be awaitable and is asked every `pause_s`; fails with `what`
    after `within_s`.
    """
    deadline = time.monotonic() + within_s
    while True:
        answer = holds()
        if await answer if inspect.isawaitable(answer) else answer:
            return
        assert time.monotonic() < deadline, f"not within {within_s:g} s: {what}"
        await asyncio.sleep(pause_s)


async def until_at_rest(amount: Callable[[], int], what: str, *, within_s: float = PATIENCE_S) -> None:
    """Returns when `amount()` is something and grows no more, over so many turns of the event loop.

    They are counted: of a process that a busy machine has stopped for long nothing grows either.
    """
    seen, turns = 0, 0

    def rests() -> bool:
        nonlocal seen, turns
        now = amount()
        turns = turns + 1 if now == seen else 0
        seen = now
        return now > 0 and turns >= RESTING_TURNS

    await until(rests, what, within_s=within_s, pause_s=TURN_S)


def until_now(holds: Callable[[], bool], what: str, *, within_s: float = PATIENCE_S, pause_s: float = PAUSE_S) -> None:
    """The same without an event loop, asking every `pause_s`."""
    deadline = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < deadline, f"not within {within_s:g} s: {what}"
        time.sleep(pause_s)
