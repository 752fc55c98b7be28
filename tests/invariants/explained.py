"""What a placement saw: the receipt of place.lua."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from scheduler.decision import Ask
from tests.invariants.raw_gateway import RawGateway


class Saw(NamedTuple):
    """The loads of one candidate."""

    queued: float
    requests: float
    kv: float
    age_ms: float
    cost_s: float


def explain(gateway: RawGateway, ask: Ask) -> list[Saw | None]:
    """Places, and returns what was seen of each candidate in order; None for one that cannot be placed on."""
    reply = gateway.place(msgspec.structs.replace(ask, explain=True))
    assert reply[0] == b"place", reply
    return [Saw(*row) if row else None for row in msgspec.json.decode(reply[4])]
