"""DP groups whose agents start the ranks, as `forebay status` shows them. Pure."""

from __future__ import annotations

import msgspec

from scheduler.group_generation import Group, GroupPhase, Step


class MemberStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The agent of one node: it has `ranks` from `first_rank` on, and has come to `step` in `generation`.

    `heard_ms` is how long ago the store last heard of it.
    """

    node: str
    first_rank: int
    ranks: int
    generation: int
    step: Step
    heard_ms: int


class GroupStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One DP group of `size` ranks; `why` is why the generation before this one ended, `failures` are the last hour's.

    `awaited` says in words who has yet to confirm the generation before any rank is started in it.
    """

    pool: str
    dp_group: str
    generation: int
    phase: GroupPhase
    size: int
    failures: int
    why: str
    awaited: list[str]
    members: list[MemberStatus]


def group_status(pool: str, group: Group) -> GroupStatus:
    """What is shown of a group."""
    return GroupStatus(
        pool=pool,
        dp_group=group.name,
        generation=group.generation.number,
        phase=group.phase,
        size=group.size,
        failures=group.failures,
        why=group.why,
        awaited=list(group.awaited()),
        members=[
            MemberStatus(
                node=member.name,
                first_rank=member.span.first,
                ranks=member.span.ranks,
                generation=member.at.number,
                step=member.step,
                heard_ms=max(0, group.pool_ms - member.heard_ms),
            )
            for member in group.members
        ],
    )
