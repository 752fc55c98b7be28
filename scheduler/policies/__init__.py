"""Placement policies: pure functions from ranks to linear costs, one file each, found by name here.

A policy sees the ranks a request may go to whole (role mixed) and gives each a candidate. What the script minimises is
the candidate's cost on the loads at the instant of the placement; the policy only says how loads are priced.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from scheduler.errors import UnknownPolicyError
from scheduler.policies import least_requests, least_work, random, round_robin
from scheduler.policies.policy import Policy

POLICIES: Mapping[str, Policy] = MappingProxyType(
    {
        "least_work": Policy(least_work.least_work, least_work.likely),
        "least_requests": Policy(least_requests.least_requests, least_requests.likely),
        "round_robin": Policy(round_robin.round_robin, round_robin.likely),
        "random": Policy(random.random, random.likely),
    }
)


def policy_named(name: str) -> Policy:
    """The policy of that name; raises UnknownPolicyError listing the known ones."""
    if name not in POLICIES:
        raise UnknownPolicyError(f"unknown policy {name!r}; known: {', '.join(POLICIES)}")
    return POLICIES[name]
