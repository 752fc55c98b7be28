"""Misbehaviour on demand, so that tests can see how the others take it. Only a simulated rank has it."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

Kind = Literal["hang", "error", "slow_first_byte", "drop_after_chunks", "prefill_params", "lose_kv", "freeze", "clear"]
WrongParams = Literal["null", "missing_key", "other_shape", "not_json", "error_body", "endless"]


class Fault(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What POST /sim/fault takes.

    `hang`: requests are accepted and never answered. `error`: they get `status`. `slow_first_byte`: they are read
    `delay_ms` late. `drop_after_chunks`: their streams break off after so many `chunks`. `prefill_params`: prefill legs
    get 200 with no `params`, or without their block ids, or a list in their place, or a body that is no JSON, or an
    error, or one that never ends. Each holds for the next `count` requests for an engine that it is about, 0 for all
    until cleared. `lose_kv`: so do the next pulls of KV fail. `freeze`: the engines stop stepping while /health stays
    200. `clear` ends every fault; what hangs goes on hanging.
    """

    kind: Kind
    count: Annotated[int, msgspec.Meta(ge=0)] = 0
    status: Annotated[int, msgspec.Meta(ge=400, le=599)] = 500
    delay_ms: Annotated[float, msgspec.Meta(ge=0)] = 1000.0
    chunks: Annotated[int, msgspec.Meta(ge=1)] = 1
    params: WrongParams = "null"


class FaultBoard:
    """The faults in force, one of each kind."""

    def __init__(self) -> None:
        self._faults: dict[Kind, Fault] = {}
        self._left: dict[Kind, int] = {}

    def put(self, fault: Fault) -> None:
        """Set a fault, in place of an earlier one of its kind; `clear` takes all away."""
        if fault.kind == "clear":
            self._faults.clear()
            return
        self._faults[fault.kind] = fault
        self._left[fault.kind] = fault.count

    def take(self, kind: Kind) -> Fault | None:
        """The fault of that kind the next request meets, if any; counts it."""
        fault = self._faults.get(kind)
        if fault is not None and fault.count:
            self._left[kind] -= 1
            if not self._left[kind]:
                del self._faults[kind]
        return fault
