"""What a simulation says of one case. Pure."""

from __future__ import annotations

import msgspec

from forebay.simulate.cases import Case
from simulator.cluster.figures import Figures


class CaseReport(msgspec.Struct, frozen=True, kw_only=True):
    """A case, the rest of what it was run with, and its figures."""

    case: Case
    workload: str
    store: str
    prefill: int
    decode: int
    mixed: int
    clients: int | None
    """None where requests come at the load of the case; else that load meant nothing."""
    requests: int
    """Of one run."""
    figures: Figures

    def as_json(self) -> bytes:
        """One object on one line, all of it side by side."""
        rest = {name: getattr(self, name) for name in self.__struct_fields__ if name not in {"case", "figures"}}
        if self.clients:
            rest["load"] = None
        return msgspec.json.encode(msgspec.structs.asdict(self.case) | rest | msgspec.structs.asdict(self.figures))
