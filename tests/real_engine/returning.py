"""A server that a check has ended is there again for the next one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tests.real_engine.asking import CHAT, asked
from tests.real_engine.conftest import warm_up
from tests.real_engine.engine import Engine
from tests.real_engine.stack import Stack


@contextmanager
def coming_back(stack: Stack, engine: Engine) -> Iterator[None]:
    """Starts the server again after the block, and waits until every gateway serves its pool."""
    try:
        yield
    finally:
        engine.end()
        engine.start()
        engine.wait_until_up()
        warm_up(engine)
        stack.wait_for(engine, "up")
    for gateway in stack.gateways:
        assert stack.post(gateway, CHAT, asked(CHAT, engine.model, "Are you back?")).status_code == 200
