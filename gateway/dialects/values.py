"""Values in raw JSON, as dialects read and write them. Pure."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Raw

from gateway.errors import RankFailedError, RecomputedError
from gateway.wire import Fields

NULL = Raw(b"null")
RECOMPUTED = "recomputed"
"""With this stop reason vllm-ascend's recompute scheduler gives a request up."""

FIELDS_DECODER = msgspec.json.Decoder(Fields)


def object_of(raw: Raw | None) -> Fields:
    """The fields of an object; none of anything else. Raises msgspec.DecodeError."""
    return FIELDS_DECODER.decode(raw) if raw is not None and bytes(memoryview(raw)[:1]) == b"{" else {}


def raw_of(value: Any) -> Raw:
    """A value as JSON."""
    return Raw(msgspec.json.encode(value))


def aborted() -> RankFailedError:
    """Nobody but the rank ended the answer: a vLLM that is told to stop ends what it has so, with a status of 200."""
    return RankFailedError("The rank aborted the request before its answer was complete")


def given_up() -> RecomputedError:
    """The decode rank has lost the KV."""
    return RecomputedError("The decode rank ran out of KV cache and gave the request up; it may be sent again")
