"""What one step of an engine did. Pure."""

from __future__ import annotations

from typing import Literal

import msgspec

from simulator.kv_fetch import PullOrder
from simulator.layer_params import LayerPush, PrefillCall
from simulator.sequence import Sequence

Finish = Literal["stop", "length"]


class TokenOut(msgspec.Struct, frozen=True, gc=False):
    """The `nth` token (from 1) of a sequence; `gap_s` is the time since its previous one, or since its arrival.

    Of a request for no token the first stands for the end of its prompt, and is none.
    """

    sequence: Sequence
    nth: int
    token: int
    finish: Finish | None
    stop_token: int | None
    gap_s: float


class FetchStages(msgspec.Struct, frozen=True):
    """Of the waiting sequences, those whose KV comes from elsewhere, by how far it is."""

    waiting_to_start: int
    in_progress: int
    completed_waiting: int

    @property
    def deferred(self) -> int:
        """Those that wait for no scheduling capacity."""
        return self.in_progress + self.completed_waiting


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """What one step did; it is known to the outside from `end_s` on. Counts are taken after the step.

    `pulls` and `calls` are to be carried out at once, `pushes` at the step's end. `kv_expired` names the requests whose
    KV is kept no longer.
    """

    end_s: float
    outputs: list[TokenOut]
    prefill_tokens: int
    decode_tokens: int
    running: int
    waiting: int
    fetching: FetchStages
    kv_usage: float
    prefix_queries_tokens: int
    prefix_hits_tokens: int
    external_queries_tokens: int
    external_hits_tokens: int
    preemptions: int
    pulls: list[PullOrder]
    calls: list[PrefillCall]
    pushes: list[LayerPush]
    kv_expired: list[str]
