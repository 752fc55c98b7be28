"""A prefill leg that may have to outlive its client.

A decode rank whose request is aborted while it waits for KV holds the blocks until it hears that they are filled (vLLM
since #32255; nothing else frees them, #46289). So where it waits already, a prefill that was begun is let end.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

import anyio

from gateway.dispatch import Dispatch
from gateway.errors import GatewayError, RankTimeoutError
from gateway.gateway import Gateway
from scheduler.messages import RankCard

END_S = 1.0
"""How long after its deadline it is surely over."""


class OutlivingPrefill:
    """One prefill on a rank, sent by `dispatch`. `error` says why it failed: also that it took too long."""

    def __init__(self, gateway: Gateway, dispatch: Dispatch, card: RankCard) -> None:
        self._gateway = gateway
        self._dispatch = dispatch
        self._card = card
        self._scope = anyio.CancelScope()
        self.error: GatewayError | None = None

    def start(self, prefill: Callable[[], Awaitable[None]], on_end: Callable[[], None]) -> None:
        """Have it run; returns at once. At its end, unless it is cancelled, `on_end` is called."""

        async def run() -> None:
            try:
                # Alive, so that a gateway that is to end waits for it, and cuts it in the end.
                with self._gateway.living(None, since_s=time.monotonic()), self._scope:
                    await self._in_time(prefill)
            except GatewayError as error:
                self.error = error
            if not self._scope.cancelled_caught:
                on_end()

        within_s = self._gateway.settings.prefill_ms / 1000 + END_S
        self._gateway.errands.run(run, f"prefill on {self._card.rank}", within_s)

    def cancel(self) -> None:
        """Nobody waits for the KV any more, not even the decode rank; one that is yet to be started is not begun."""
        self._scope.cancel()

    async def _in_time(self, prefill: Callable[[], Awaitable[None]]) -> None:
        prefill_s = self._gateway.settings.prefill_ms / 1000
        with anyio.move_on_after(prefill_s) as patience:
            await prefill()
        if patience.cancelled_caught:
            self._dispatch.ran_out_of_time(self._card)
            raise RankTimeoutError(f"The prefill rank did not answer within {prefill_s:g} s")
