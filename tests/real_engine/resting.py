"""After a request nothing is left of it."""

from __future__ import annotations

from tests.polling import until_now
from tests.real_engine.conftest import Engines
from tests.real_engine.legs import kv_is_freed
from tests.real_engine.stack import LOOK_S, READY_S, Stack


def nothing_is_reserved(stack: Stack) -> None:
    """Waits until the store holds no reservation of any gateway."""
    until_now(lambda: stack.status().reservations == 0, "no reservation is left", within_s=READY_S, pause_s=LOOK_S)


def is_at_rest(stack: Stack, engines: Engines) -> None:
    """Waits until nothing is reserved, and neither server of the pair holds anything."""
    nothing_is_reserved(stack)
    kv_is_freed(engines.prefill)
    until_now(lambda: engines.decode.running == 0, "the decode server is idle", within_s=READY_S, pause_s=LOOK_S)
