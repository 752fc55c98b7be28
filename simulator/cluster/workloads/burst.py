"""A burst inside a workload: what a fleet does after it shows whether its placement recovers. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from simulator.cluster.request import SimRequest

BEGIN = 0.4
END = 0.5
"""The shares of the requests before the burst and up to its end."""


def with_burst(requests: Sequence[SimRequest], factor: float) -> list[SimRequest]:
    """The same requests; those from BEGIN to END come `factor` times as fast, the later ones as much sooner."""
    first, last = (requests[min(len(requests) - 1, int(len(requests) * share))].arrival_s for share in (BEGIN, END))

    def moved_s(arrival_s: float) -> float:
        inside_s = min(max(arrival_s, first), last) - first
        return arrival_s - inside_s + inside_s / factor

    return [msgspec.structs.replace(request, arrival_s=moved_s(request.arrival_s)) for request in requests]
