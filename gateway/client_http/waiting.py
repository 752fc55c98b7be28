"""When no more is parsed of what a client has sent: a packet may hold thousands of requests."""

from __future__ import annotations

from collections import deque
from typing import Any

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

MAX_QUEUED = 16
"""Requests of one connection that wait for their turn. Clients that pipeline at all send a few."""

MAX_UNREAD_BYTES = 65_536
"""What may lie unparsed before no more is read. Until then it is noticed when the client leaves."""


def is_due(pipeline: deque[Any], cycle: RequestResponseCycle | None, offering: RequestResponseCycle | None) -> bool:
    """Whether so many requests wait for their turn, or so much of the last one's body; or whether it is not known what
    comes next, as nobody has answered the one that is `offering` to change the protocol.
    """
    if pipeline and (len(pipeline) >= MAX_QUEUED or (cycle is not None and len(cycle.body) > MAX_UNREAD_BYTES)):
        return True
    return offering is not None and not offering.response_complete
