"""A part of a workload, so that what is tuned on one half can be judged on the other. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from simulator.cluster.request import SimRequest
from simulator.cluster.workloads.errors import WorkloadError


def part(requests: Sequence[SimRequest], skip: int, limit: int | None) -> list[SimRequest]:
    """At most `limit` requests after the first `skip`, numbered from 0, the first arriving at 0 s.

    Raises WorkloadError where none is left.
    """
    chosen = requests[skip:] if limit is None else requests[skip : skip + limit]
    if not chosen:
        raise WorkloadError(f"the workload has {len(requests)} requests, so none is left after the first {skip}")
    begin_s = chosen[0].arrival_s
    return [
        msgspec.structs.replace(request, number=number, arrival_s=request.arrival_s - begin_s)
        for number, request in enumerate(chosen)
    ]
