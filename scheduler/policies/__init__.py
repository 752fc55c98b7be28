"""Placement policies: pure functions from ranks to linear costs, one file each, found by name here. Pure.

A policy sees the ranks that a leg of a request may go to and gives each a candidate. What the script minimises is the
candidates' cost on the loads at the instant of the placement; the policy only says how loads are priced.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import msgspec

from scheduler.errors import UnknownPolicyError
from scheduler.policies import least_requests, least_work, random, round_robin
from scheduler.policies.order import by_chance, by_turn
from scheduler.policies.policy import Policy

TIE_S = 1e-6
"""What a group costs more whose turn it is not, where only ties are for it to decide."""
TURN_S = 1e3
"""The same where nothing else decides: the other groups are for when the first has no rank left."""

_LEAST_WORK = Policy(
    price=least_work.least_work,
    likely=least_work.likely,
    order=by_chance,
    later_s=0.0,
    in_seconds=True,
    prefills_on_decode=True,
    rebinds=True,
)
_FOREBAY = msgspec.structs.replace(_LEAST_WORK, knows_prefixes=True)

POLICIES: Mapping[str, Policy] = MappingProxyType(
    {
        "forebay": _FOREBAY,
        "forebay_pairs": msgspec.structs.replace(_FOREBAY, prefills_on_decode=False),
        "least_work": _LEAST_WORK,
        "least_requests": Policy(
            price=least_requests.least_requests,
            likely=least_requests.likely,
            order=by_chance,
            later_s=TIE_S,
            rebinds=True,
        ),
        "round_robin": Policy(price=round_robin.round_robin, likely=round_robin.likely, order=by_turn, later_s=TURN_S),
        "random": Policy(price=random.random, likely=random.likely, order=by_chance, later_s=TURN_S),
    }
)


def policy_named(name: str) -> Policy:
    """The policy of that name; raises UnknownPolicyError listing the known ones."""
    if name not in POLICIES:
        raise UnknownPolicyError(f"unknown policy {name!r}; known: {', '.join(POLICIES)}")
    return POLICIES[name]


def name_of(policy: Policy) -> str:
    """The name of a policy; empty for one that is not registered."""
    return next((name for name, each in POLICIES.items() if each == policy), "")
