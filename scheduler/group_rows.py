"""The rows of scripts/dp_group.lua, read into values. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from scheduler.group_generation import NONE, Claimed, Generation, Group, Member, Span, Step

_GROUP = re.compile(r"(\d{1,15}) (\w+) (\d{1,15}) ([\d,-]+) (.*)")
_MEMBER = re.compile(r"(\S+) (\S+) (\d{1,15}) (\w+) ([a-z]+) (\d{1,15}) (\d{1,15}) (\d{1,15}) (\d+) (\d+) (\d+)")
_STEPS = frozenset(step.value for step in Step)
LONGEST_WHY = 300


def read_group(name: str, row: bytes, pool_ms: int) -> Group:
    """A group from its row; what cannot be read of it is not there."""
    first, *others = row.decode(errors="replace").split("\n")
    found = _GROUP.fullmatch(first)
    members = tuple(sorted(_members(others), key=lambda member: member.span))
    if not found:
        return Group(name=name, generation=NONE, begun_ms=0, failures_ms=(), why="", members=members, pool_ms=pool_ms)
    number, mark, begun_ms, failures, why = found.groups()
    return Group(
        name=name,
        generation=Generation(int(number), mark),
        begun_ms=int(begun_ms),
        failures_ms=tuple(int(ms) for ms in re.findall(r"\d+", failures)),
        why=why,
        members=members,
        pool_ms=pool_ms,
    )


def _members(lines: Sequence[str]) -> Iterator[Member]:
    for line in lines:
        found = _MEMBER.fullmatch(line)
        if found and found[5] in _STEPS:
            at, span = Generation(int(found[3]), found[4]), Span(int(found[6]), int(found[7]), int(found[8]))
            yield Member(
                name=found[1],
                instance=found[2],
                at=at,
                step=Step(found[5]),
                span=span,
                confirmed_version=int(found[9]),
                heard_version=int(found[10]),
                heard_ms=int(found[11]),
            )


def words(why: str) -> str:
    """A reason as it fits into a row: one line, not too long."""
    return " ".join(why.split())[:LONGEST_WHY]


def claimed(row: bytes) -> Claimed:
    """Who a member's row is of."""
    member = next(_members([row.decode(errors="replace")]), None)
    if member is None:
        return Claimed("another agent")
    is_ending = member.step in {Step.DRAINING, Step.STOPPING}
    return Claimed(f"{member.name}, which has {member.span} of {member.span.size}", is_ending)
