"""What may be set of the scheduler, parsed once by whoever starts a process."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

Milliseconds = Annotated[int, Meta(ge=1)]


class SchedulerSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a gateway or an agent shares its pools. All that share a pool should agree on `lease_ms`."""

    policy: Annotated[str, Meta(description="how ranks are chosen")] = "least_work"
    lease_ms: Annotated[Milliseconds, Meta(description="how long a silent gateway keeps its reservations")] = 2000
    renew_ms: Annotated[Milliseconds, Meta(description="how often a gateway says that it is alive")] = 500
    place_deadline_ms: Annotated[
        Milliseconds, Meta(description="how long a request waits for the ledger before it is placed without it")
    ] = 50
    snapshot_ms: Annotated[Milliseconds, Meta(description="how often a gateway reads what changed")] = 250
    probe_ms: Annotated[Milliseconds, Meta(description="how often a lost Redis is tried again")] = 250
