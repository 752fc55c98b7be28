"""What an answer says about its own tokens. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import msgspec
from msgspec import Meta

Tokens = Annotated[int, Meta(ge=0, le=1 << 53)]
"""What JSON carries exactly. No engine counts as far, and a float could not hold every number beyond."""


class Usage(msgspec.Struct, frozen=True):
    """Token counts as the engine reports them."""

    prompt_tokens: Tokens
    completion_tokens: Tokens = 0


class _WithUsage(msgspec.Struct):
    usage: Usage | None = None


DECODER = msgspec.json.Decoder(_WithUsage)


def of_body(body: bytes) -> Usage | None:
    """The usage in a JSON answer; None if there is none that makes sense."""
    try:
        return DECODER.decode(body).usage
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def of_events(events: bytes, read: Callable[[bytes], Usage | None] = of_body) -> Usage | None:
    """The last usage that a stream's events report, as `read` finds it; None if there is none that makes sense."""
    for line in reversed(events.splitlines()):
        if line.startswith(b"data: {") and (usage := read(line[6:])) is not None:
            return usage
    return None
