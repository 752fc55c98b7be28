"""What a node does next about its DP group: from where it is and what the store says to one action. Pure.

The rule that all of this keeps: no rank is started while a rank of an older generation may still run anywhere in the
group. So a node says that it may start before it does, starts only in a generation that all members have confirmed,
and confirms one only while nothing runs on it.
"""

from __future__ import annotations

import msgspec

from scheduler.group_generation import (
    NONE,
    RESTARTS_PER_HOUR,
    Cause,
    Claimed,
    Generation,
    Group,
    Standing,
    Step,
    Wish,
)
from scheduler.group_rows import words

NEVER = 1 << 53
_RUNS = frozenset({Step.STARTING, Step.STARTED, Step.READY, Step.DRAINING})
_MAY_RUN = _RUNS | {Step.ANNOUNCED, Step.STOPPING}


class Here(msgspec.Struct, frozen=True):
    """One node: where it is, and why a rank of generation `at` has ended by itself, "" if none has.

    `was_ready`: all its ranks answered once in this life of the agent. `came_ms`: the pool time at which its agent was
    there already, and `found` the generation at that time; what began before may have had ranks of an earlier life of
    it, or of another agent with these ranks.
    """

    name: str
    at: Generation = NONE
    step: Step = Step.STOPPED
    failure: str = ""
    was_ready: bool = False
    came_ms: int = NEVER
    found: Generation = NONE

    @property
    def standing(self) -> Standing:
        """What the store is told of it."""
        return Standing(self.at, self.step)


class Rest(msgspec.Struct, frozen=True):
    """Nothing to do until the next look; `awaited`: what for."""

    awaited: tuple[str, ...] = ()


class Confirm(msgspec.Struct, frozen=True):
    """Nothing runs here: say so of this generation."""

    at: Generation


class Announce(msgspec.Struct, frozen=True):
    """Say that ranks may be started here from now on."""


class Start(msgspec.Struct, frozen=True):
    """Start the ranks."""


class Stop(msgspec.Struct, frozen=True):
    """Stop the ranks; `why` the generation they belong to has ended."""

    why: str


class End(msgspec.Struct, frozen=True):
    """Ask, from pool time `at_ms` on, that the generation `of` ends."""

    of: Generation
    at_ms: int
    wish: Wish


class GiveUp(msgspec.Struct, frozen=True):
    """Nothing more is started here: the agent ends."""

    why: str


Action = Rest | Confirm | Announce | Start | Stop | End | GiveUp


def draining(here: Here) -> Here:
    """Where the node is once its agent is told to end: what runs on its ranks goes on for a while."""
    return msgspec.structs.replace(here, step=Step.DRAINING) if here.step in _RUNS else here


def stopping(here: Here) -> Here:
    """Where it is while its ranks are stopped for good."""
    return here if here.step is Step.STOPPED else msgspec.structs.replace(here, step=Step.STOPPING)


def after(here: Here, action: Action) -> Here:
    """Where the node is once it has begun an action."""
    match action:
        case Confirm(at=at):
            return Here(here.name, at, was_ready=here.was_ready)
        case Announce():
            return msgspec.structs.replace(here, step=Step.ANNOUNCED)
        case Start():
            return msgspec.structs.replace(here, step=Step.STARTING)
        case Stop():
            return msgspec.structs.replace(here, step=Step.STOPPING)
        case End(of=of, at_ms=at_ms):
            return msgspec.structs.replace(here, came_ms=at_ms, found=of)
        case Rest() | GiveUp():
            return here


def next_action(here: Here, said: Group | Claimed) -> Action:
    """What `here` does next, after the store has `said` where the group is."""
    match said:
        case Claimed(by=by):
            return Stop(f"its ranks are claimed by {by}") if here.step in _RUNS else Rest((f"the ranks of {by}",))
        case Group():
            return _running(here, said) if here.step in _RUNS else _stopped(here, said)


def _running(here: Here, group: Group) -> Action:
    if here.step is Step.DRAINING and here.failure:
        return Stop(here.failure)
    if here.at != group.generation:
        is_to_blame = bool(here.failure) and words(here.failure) == group.why
        if is_to_blame and not here.was_ready:
            # What is wrong from the first on will not pass by itself, and the other nodes need not go along.
            return GiveUp(f"{here.failure}; it was before the ranks of {here.name} were all ready")
        return Stop(group.why)
    return End(group.generation, group.pool_ms, Wish(Cause.FAILED, here.failure)) if here.failure else Rest()


def _stopped(here: Here, group: Group) -> Action:
    if here.step is Step.STOPPING:
        return Rest()
    if group.has_given_up:
        return GiveUp(
            f"DP group {group.name} stays down: it failed {group.failures} times in an hour, and {RESTARTS_PER_HOUR} "
            f"restarts are the most; the last time {group.why}; to start again: forebay restart {group.name}"
        )
    if here.at == NONE or here.at != group.generation:
        return _join(here, group)
    if here.step is Step.ANNOUNCED:
        return Start()
    awaited = _awaited(here, group)
    return Rest(awaited) if awaited else Announce()


def _join(here: Here, group: Group) -> Action:
    """Of a generation that is not older than this life of the agent, and that nobody runs without it."""
    others = [member for member in group.members if member.name != here.name]
    is_run = any(member.at == group.generation and member.step in _MAY_RUN for member in others)
    is_older = here.at == NONE and (group.generation == here.found or group.begun_ms < here.came_ms)
    if is_run or is_older:
        return End(group.generation, group.pool_ms, Wish(Cause.JOINED, f"the agent of {here.name} has started"))
    return Confirm(group.generation)


def _awaited(here: Here, group: Group) -> tuple[str, ...]:
    me = group.member(here.name)
    if me is None:
        return (f"{here.name} to be written down",)
    if awaited := group.awaited(me.confirmed_version):
        return awaited
    if group.is_backing_off:
        return (f"{group.backoff_ms // 1000} s to pass after failure {group.failures} in an hour",)
    head = group.members[0]
    if head.name != here.name and head.step not in {Step.STARTED, Step.READY}:
        return (f"rank 0 on {head.name} to start",)
    return ()
