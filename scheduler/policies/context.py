"""What a policy may know beside the request and the ranks."""

from __future__ import annotations

import msgspec


class Context(msgspec.Struct, frozen=True, kw_only=True):
    """`turn` counts this gateway's placements.

    `least_queue_s` is the shortest queue of the ranks that are considered, in seconds of prefill.
    """

    turn: int
    least_queue_s: float
