"""What was seen of processes when it was looked at. Pure."""

from __future__ import annotations

from typing import NamedTuple

import msgspec


class Resources(NamedTuple):
    """What one process has at rest."""

    resident_bytes: int
    descriptors: int


class GatewayKill(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one kill -9 of a gateway: when its reservations were gone, and how others placed around it."""

    gateway: int
    killed_s: float
    ledger_s: float
    before: dict[float, float]
    after: dict[float, float]
