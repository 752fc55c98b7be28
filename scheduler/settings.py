"""What may be set of the scheduler, parsed once by whoever starts a process. Pure."""

from __future__ import annotations

from typing import Annotated

import msgspec

Milliseconds = Annotated[int, msgspec.Meta(ge=1, le=3_600_000)]


class SchedulerSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a process shares its pools.

    `policy` chooses ranks. `place_deadline_ms`: how long a request waits for the ledger before it is placed without.
    `allowed_hosts`: where ranks may listen that requests are sent to, anywhere if there are none (endpoints.py).
    `prefix_secret` keys the hashes of prompts in the prefix index, which only gateways with the same one share. The
    rest must be equal for all that share a pool, so no command line offers it: a gateway says every `renew_ms` that it
    lives, and loses its reservations after `lease_ms` of silence; it reads what changed every `snapshot_ms`, and tries
    a lost store every `probe_ms`. Of the receipts of a pool about the last `receipts_kept` are kept.
    """

    allowed_hosts: tuple[str, ...] = ()
    prefix_secret: str = ""
    policy: str = "forebay"
    place_deadline_ms: Milliseconds = 50
    lease_ms: Milliseconds = 2000
    renew_ms: Milliseconds = 500
    snapshot_ms: Milliseconds = 250
    probe_ms: Milliseconds = 250
    receipts_kept: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 10_000
