"""What a placement saw: the receipt of place.lua, and of rebind.lua."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from scheduler.calls import Reply
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
    return _saw(gateway.place(msgspec.structs.replace(ask, explain=True)))


def explain_rebinding(gateway: RawGateway, reservation: int, ask: Ask) -> list[Saw | None]:
    """Rebinds, and returns the same of the decode candidates."""
    return _saw(gateway.rebind(reservation, msgspec.structs.replace(ask, explain=True)))


def _saw(reply: Reply) -> list[Saw | None]:
    assert reply[0] == b"place", reply
    return [Saw(*row) if row else None for row in msgspec.json.decode(reply[4])]
