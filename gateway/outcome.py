"""How one attempt to serve a request ended: the closed set that the next step is chosen by. Pure."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from gateway.errors import GatewayError
from gateway.usage import Usage


class Trouble(StrEnum):
    """Why a request may be tried anew: nothing of an answer has reached its client."""

    PREFILL_FAILED = "prefill_failed"
    """The prefill rank was not reached, failed, or answered what a decode rank must not be given."""

    NO_TRANSFER = "no_transfer"
    """The prefill rank answered well and offers no KV."""

    DECODE_GONE = "decode_gone"
    """When the prefill was done there was no decode rank left to go on with."""

    DECODE_FAILED = "decode_failed"
    """The decode rank was not reached in time, refused, failed, or could not load the KV."""

    RECOMPUTED = "recomputed"
    """The decode rank ran out of KV cache and gave the request up."""


class Served(msgspec.Struct, frozen=True):
    """The client has its answer, the rank's own errors included; with the usage in it, if any."""

    usage: Usage | None


class Failed(msgspec.Struct, frozen=True):
    """Nothing was answered. `rank` is the one to avoid, if any; `error` for the client if it was the last try."""

    trouble: Trouble
    rank: str
    error: GatewayError


Outcome = Served | Failed
