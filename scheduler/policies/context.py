"""What a policy may know beside the request and the ranks. Pure."""

from __future__ import annotations

import msgspec


class Context(msgspec.Struct, frozen=True, kw_only=True):
    """`least_queue_s` is the shortest queue of the ranks that are priced, in seconds of prefill.

    `later_s`: what these ranks cost more because it is another group's turn (order.py).
    """

    least_queue_s: float
    later_s: float = 0.0
