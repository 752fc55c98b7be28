"""An asyncio loop whose time moves only while every task waits: deterministic, and as fast as the work in it."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Mapping
from selectors import SelectorKey
from typing import Any

EventMask = int


class _Clockwork(selectors.BaseSelector):
    """Instead of waiting for `timeout` it is later at once."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self._real = selectors.DefaultSelector()

    def select(self, timeout: float | None = None) -> list[tuple[SelectorKey, EventMask]]:
        if timeout is None:
            raise RuntimeError("every task waits for something that cannot happen")
        self.now_s += max(0.0, timeout)
        return self._real.select(0)

    def register(self, fileobj: Any, events: EventMask, data: Any = None) -> SelectorKey:
        return self._real.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> SelectorKey:
        return self._real.unregister(fileobj)

    def get_map(self) -> Mapping[Any, SelectorKey]:
        return self._real.get_map()

    def close(self) -> None:
        self._real.close()


class VirtualLoop(asyncio.SelectorEventLoop):
    """`time()` starts at 0 s. An exception that nobody handles is kept in `unhandled`."""

    def __init__(self) -> None:
        self._clockwork = _Clockwork()
        self.unhandled: list[str] = []
        super().__init__(self._clockwork)
        self.set_exception_handler(lambda _, context: self.unhandled.append(str(context)))

    def time(self) -> float:
        return self._clockwork.now_s
