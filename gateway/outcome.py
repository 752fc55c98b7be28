"""How one attempt to serve a request ended: the closed set that the next step is chosen by. Pure."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from gateway.errors import (
    GatewayError,
    RankErrorAnswerError,
    RankFailedError,
    RankNotReachedError,
    RankTimeoutError,
    RankUnreachableError,
    RecomputedError,
)
from gateway.usage import Usage

RANK_ERRORS = (
    RankUnreachableError,
    RankNotReachedError,
    RankFailedError,
    RankErrorAnswerError,
    RankTimeoutError,
    RecomputedError,
)
"""What a rank is at fault for."""


class Trouble(StrEnum):
    """Why a request may be tried anew: nothing of an answer has reached its client."""

    PREFILL_FAILED = "prefill_failed"
    """The prefill rank was not reached, failed, or answered what a decode rank must not be given."""

    NO_TRANSFER = "no_transfer"
    """The prefill rank answered well and offers no KV."""

    DECODE_GONE = "decode_gone"
    """When the prefill was done there was no decode rank left to go on with."""

    DECODE_FAILED = "decode_failed"
    """The decode rank was not reached, failed, was silent for too long, or could not load the KV."""

    RECOMPUTED = "recomputed"
    """The decode rank ran out of KV cache and gave the request up."""

    UNREACHABLE = "unreachable"
    """The rank that was to serve the whole request took no connection."""

    RANK_FAILED = "rank_failed"
    """It broke off, went down, stalled, or answered with an error or what is no answer."""

    SILENT = "silent"
    """It was silent for too long."""


class Served(msgspec.Struct, frozen=True):
    """The client has its answer, the rank's own errors included; with the usage in it, if any."""

    usage: Usage | None


class Failed(msgspec.Struct, frozen=True):
    """Nothing was answered. `rank` failed, if any; `error` is for the client if it was the last try.

    `kv_of` is the prefill rank whose KV the one that failed was to fetch, where that may be what it failed of. It took
    so many `placements`; `others` have failed beside it, or are likely to; the `silent` ones had all the time that a
    rank may take.
    """

    trouble: Trouble
    rank: str
    error: GatewayError
    kv_of: str = ""
    others: frozenset[str] = frozenset()
    silent: frozenset[str] = frozenset()
    placements: int = 1

    @property
    def suspects(self) -> frozenset[str]:
        """The ranks to avoid."""
        return self.others | ({self.rank, self.kv_of} - {""})


Outcome = Served | Failed
