"""What a policy may know beside the request and the ranks."""

from __future__ import annotations

import msgspec


class Context(msgspec.Struct, frozen=True, kw_only=True):
    """`least_queue_s` is the shortest queue of the ranks that are priced, in seconds of prefill."""

    least_queue_s: float
