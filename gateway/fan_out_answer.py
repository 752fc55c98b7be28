"""What all ranks said to one request, as one answer. Pure.

    {"results": [{"pool": "sim", "rank": "10.0.0.1:8100", "status": 200, "body": ...}, ...]}

`body` is the rank's JSON, or its text where it is none, or null. Of a rank that did not answer, status and body are
what a client would be told of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec
from msgspec import Raw

from gateway import errors
from gateway.errors import GatewayError

ALL_WELL, SOME_WELL, NONE_WELL = 200, 207, 502

WELL = range(200, 300)


class Said(NamedTuple):
    """What one rank said. `body` is JSON."""

    pool: str
    rank: str
    status: int
    body: Raw


def said(pool: str, rank: str, status: int, body: bytes) -> Said:
    """A rank's answer."""
    return Said(pool, rank, status, Raw(_as_json(body)))


def failed(pool: str, rank: str, error: GatewayError) -> Said:
    """A rank that did not answer, for this reason."""
    return Said(pool, rank, errors.status_of(error), Raw(errors.body_of(error)))


def status_of(all_said: Sequence[Said]) -> int:
    """200 if all ranks did it, 207 if some, 502 if none."""
    well = [one.status in WELL for one in all_said]
    return ALL_WELL if all(well) else SOME_WELL if any(well) else NONE_WELL


def body_of(all_said: Sequence[Said]) -> bytes:
    """The body of the answer."""
    return msgspec.json.encode({"results": [one._asdict() for one in all_said]})


def _as_json(body: bytes) -> bytes:
    if not body:
        return b"null"
    text = body.decode(errors="replace")
    try:
        msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return msgspec.json.encode(text)
    return text.encode()
