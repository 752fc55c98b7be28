"""Placement policies: pure functions from ranks to linear costs, one file each, found by name here.

A policy sees the ranks a request may go to whole (role mixed) and gives each a candidate. What the script minimises is
the candidate's cost on the loads at the instant of the placement; the policy only says how loads are priced.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from scheduler.decision import Candidate, RequestShape
from scheduler.errors import UnknownPolicyError
from scheduler.policies.context import Context
from scheduler.policies.least_requests import least_requests
from scheduler.policies.least_work import least_work
from scheduler.policies.random import random
from scheduler.policies.round_robin import round_robin
from scheduler.rank_view import RankView

Policy = Callable[[RequestShape, Sequence[RankView], Context], list[Candidate]]

POLICIES: Mapping[str, Policy] = MappingProxyType(
    {policy.__name__: policy for policy in (least_work, least_requests, round_robin, random)}
)


def policy_named(name: str) -> Policy:
    """The policy of that name; raises UnknownPolicyError listing the known ones."""
    if name not in POLICIES:
        raise UnknownPolicyError(f"unknown policy {name!r}; known: {', '.join(POLICIES)}")
    return POLICIES[name]
