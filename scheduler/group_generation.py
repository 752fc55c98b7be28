"""A DP group's generation and its members, as scripts/dp_group.lua keeps them. Pure.

All ranks of a group live and die together. A generation is one life of the group; a member is the agent of one node
with its ranks. A member confirms a generation by its word that no rank of an older one runs on its node.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import NamedTuple

import msgspec

SILENT_MS = 3_000
"""After so much pool time without a word a member counts as silent, and another agent may claim its ranks."""
RESTARTS_PER_HOUR = 6
"""So many failures of a group in an hour end in a restart; at the next one it stays down."""
HOUR_MS = 3_600_000
FIRST_BACKOFF_MS, LONGEST_BACKOFF_MS = 2_000, 60_000


class Generation(NamedTuple):
    """The number counts up; the mark tells apart two generations that a store which lost one gave the same number."""

    number: int = 0
    mark: str = "0"


NONE = Generation()
"""What a member confirms that has just begun, and what a group is at before its first start."""


class Step(StrEnum):
    """How far a member is: `announced` it may start its ranks from now on; `started`, they run and rank 0's
    coordinator takes connections; `ready`, they answer; `draining`, its agent ends, and what runs on them goes on until
    they are stopped.
    """

    STOPPED = "stopped"
    ANNOUNCED = "announced"
    STARTING = "starting"
    STARTED = "started"
    READY = "ready"
    DRAINING = "draining"
    STOPPING = "stopping"
    LEFT = "left"


_ANSWER = frozenset({Step.READY, Step.DRAINING})


class Cause(StrEnum):
    """Why a generation ends. Only failures count against RESTARTS_PER_HOUR."""

    FAILED = "failed"
    JOINED = "joined"
    LEFT = "left"
    ASKED = "asked"


class Wish(msgspec.Struct, frozen=True):
    """That a generation ends, and why."""

    cause: Cause
    why: str


class Standing(msgspec.Struct, frozen=True):
    """Where a member is: it confirms `at`, and has come to `step` in it."""

    at: Generation
    step: Step


class Claimed(msgspec.Struct, frozen=True):
    """Another agent, which is heard, has ranks that this one says it has, or says that the group has another size.

    `is_ending`: its ranks drain or are stopped, and it may have none soon.
    """

    by: str
    is_ending: bool = False


class GroupPhase(StrEnum):
    """How far a group is with its generation."""

    STOPPING = "stopping"
    STARTING = "starting"
    RUNNING = "running"
    DOWN = "down"


class Span(NamedTuple):
    """Which ranks of the group a member has: `ranks` from `first` on, of `size`."""

    first: int
    ranks: int
    size: int

    def __str__(self) -> str:
        last = self.first + self.ranks - 1
        return f"rank {last}" if self.ranks == 1 else f"ranks {self.first}-{last}"


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """One agent of a group. Versions are the pool's: they order what the store was told. `heard_ms` is pool time."""

    name: str
    instance: str
    at: Generation
    step: Step
    span: Span
    confirmed_version: int
    heard_version: int
    heard_ms: int


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """A group as it was at pool time `pool_ms`. `why` is why the generation before this one ended."""

    name: str
    generation: Generation
    begun_ms: int
    failures_ms: tuple[int, ...]
    why: str
    members: tuple[Member, ...]
    pool_ms: int

    @property
    def size(self) -> int:
        """How many ranks it has; 0 where no member is known."""
        return self.members[0].span.size if self.members else 0

    @property
    def failures(self) -> int:
        """In the last hour."""
        return sum(self.pool_ms - ms < HOUR_MS for ms in self.failures_ms)

    @property
    def has_given_up(self) -> bool:
        """Whether it stays down until an operator asks for a restart, or the hour is over."""
        return self.failures > RESTARTS_PER_HOUR

    @property
    def backoff_ms(self) -> int:
        """How long after its last failure it may start: at once after the first of an hour, then 2 s, doubling."""
        return min(FIRST_BACKOFF_MS << (self.failures - 2), LONGEST_BACKOFF_MS) if self.failures > 1 else 0

    @property
    def is_backing_off(self) -> bool:
        """Whether that time is not over."""
        return self.failures > 1 and self.pool_ms - max(self.failures_ms) < self.backoff_ms

    @property
    def phase(self) -> GroupPhase:
        """How far it is."""
        steps = {member.step for member in self.members}
        if self.has_given_up:
            return GroupPhase.DOWN
        if Step.STOPPING in steps:
            return GroupPhase.STOPPING
        if self.awaited():
            return GroupPhase.STOPPING if steps - {Step.STOPPED} else GroupPhase.STARTING
        return GroupPhase.RUNNING if steps and steps <= _ANSWER else GroupPhase.STARTING

    def member(self, name: str) -> Member | None:
        """The member of this name."""
        return next((member for member in self.members if member.name == name), None)

    def is_silent(self, member: Member) -> bool:
        """Whether it was not heard for long."""
        return self.pool_ms - member.heard_ms >= SILENT_MS

    def awaited(self, since_version: int = 0) -> tuple[str, ...]:
        """Who has yet to confirm the generation, in words; none once all ranks' members did.

        A member that was not heard after `since_version` is awaited too: what the store says of it may be older than
        what the store has lost.
        """
        missing = [f"{_spelt(gap)} (no agent has said that it has them)" for gap in _gaps(self.members, self.size)]
        for member in self.members:
            if member.at != self.generation:
                missing.append(f"{member.name} ({member.span}){self._silence(member)} to stop its ranks")
            elif member.heard_version < since_version:
                missing.append(f"{member.name} ({member.span}){self._silence(member)} to say where it is")
        return tuple(missing)

    def _silence(self, member: Member) -> str:
        return ", whose agent is silent," if self.is_silent(member) else ""


def _gaps(members: Sequence[Member], size: int) -> Iterator[range]:
    """Ranks that no member has; members in the order of their ranks."""
    reached = 0
    for member in members:
        if member.span.first > reached:
            yield range(reached, member.span.first)
        reached = max(reached, member.span.first + member.span.ranks)
    if reached < size:
        yield range(reached, size)


def _spelt(gap: range) -> str:
    return str(Span(gap.start, len(gap), 0))
