"""What may be set of the scheduler, parsed once by whoever starts a process."""

from __future__ import annotations

from typing import Annotated

import msgspec

Positive = msgspec.Meta(ge=1)


class SchedulerSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a gateway or an agent shares its pools. All that share a pool should agree on `lease_ms`."""

    policy: str = "least_work"
    lease_ms: Annotated[int, Positive] = 2000
    renew_ms: Annotated[int, Positive] = 500
    place_deadline_ms: Annotated[int, Positive] = 50
    snapshot_ms: Annotated[int, Positive] = 250
    probe_ms: Annotated[int, Positive] = 250
