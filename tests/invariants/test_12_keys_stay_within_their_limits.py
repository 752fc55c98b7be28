"""Invariant 12: over all gateways a key stays within its limits, by the very rule that a gateway has when alone.

What is written of keys is written whole, once, and known by another version.
"""

from __future__ import annotations

from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler import keys, limit_calls
from scheduler.limit_rule import EMPTY, SPAN, Levels, Limits, Verdict, drained, judge, noted, taken
from simulator.store import VirtualStore
from tests.invariants.mutation import script_text
from tests.invariants.profiles import examples

LEASE_MS = 2_000
NAME = "team-a"
DAY_MS = 86_400_000
ADMITTED, REQUESTS, TOKENS, AT_ONCE = Verdict


class Turn(NamedTuple):
    """What one gateway tells and asks, so long after the turn before."""

    after_ms: int
    gateway: str
    running: int
    more: Levels
    asked: list[int]


class Script:
    """limit.lua on a store whose clock the test moves."""

    def __init__(self) -> None:
        self.store = VirtualStore(now_ms=1_700_000_000_000, text_of=script_text)

    def take(self, limits: Limits, turn: Turn) -> list[tuple[Verdict, Levels]]:
        self.store.now_ms += turn.after_ms
        call = limit_calls.limit(NAME, turn.gateway, LEASE_MS, limits, turn.running, turn.more, turn.asked)
        return limit_calls.limit_answers(self.store.call(call))


class Rule:
    """The same by limit_rule.py, and by a dict of leases."""

    def __init__(self) -> None:
        self.levels = EMPTY
        self.now_ms = 0
        self.leases: dict[str, tuple[int, int]] = {}

    def take(self, limits: Limits, turn: Turn) -> list[tuple[Verdict, Levels]]:
        self.now_ms += max(0, turn.after_ms)
        self.levels = noted(drained(self.levels, limits, turn.after_ms), limits, turn.more)
        self.leases[turn.gateway] = self.now_ms + LEASE_MS, turn.running
        told = []
        for tokens in turn.asked:
            running = sum(count for ends_ms, count in self.leases.values() if ends_ms >= self.now_ms)
            verdict = judge(self.levels, limits, running, tokens)
            if verdict is ADMITTED:
                self.levels = taken(self.levels, limits, tokens)
                ends_ms, count = self.leases[turn.gateway]
                self.leases[turn.gateway] = ends_ms, count + 1
            told.append((verdict, self.levels))
        return told


LIMITS = st.builds(
    Limits,
    requests_per_minute=st.sampled_from([0, 1, 7, 600]),
    tokens_per_minute=st.sampled_from([0, 10, 1_000]),
    requests_at_once=st.sampled_from([0, 1, 3]),
)
AMOUNTS = st.integers(-5 * SPAN, 5 * SPAN) | st.sampled_from([10**15, -(10**15)])
TURNS = st.builds(
    Turn,
    after_ms=st.sampled_from([0, 1, 17, LEASE_MS // 2, LEASE_MS, LEASE_MS + 1, 60_000, -1, -3_600_000]),
    gateway=st.sampled_from(["a@h:1", "b@h:1", "c@[::1]:2"]),
    running=st.integers(0, 3),
    more=st.builds(Levels, AMOUNTS, AMOUNTS) | st.just(EMPTY),
    asked=st.lists(st.sampled_from([0, 1, 5, 10, 500]), max_size=4),
)


@examples(100)
@given(LIMITS, st.lists(TURNS, max_size=12))
def test_the_script_and_the_rule_say_the_same(limits: Limits, turns: list[Turn]) -> None:
    script, rule = Script(), Rule()
    for turn in turns:
        assert script.take(limits, turn) == rule.take(limits, turn)


@examples(100)
@given(st.integers(1, 50), st.lists(st.tuples(st.integers(0, 20_000), st.integers(1, 30)), min_size=1, max_size=20))
def test_never_more_than_a_minute_and_what_time_gives_is_let_in(limit: int, bursts: list[tuple[int, int]]) -> None:
    script, limits = Script(), Limits(requests_per_minute=limit)
    passed_ms = admitted = 0
    for after_ms, asks in bursts:
        passed_ms += after_ms
        told = script.take(limits, Turn(after_ms, "a@h:1", 0, EMPTY, [0] * asks))
        admitted += sum(verdict is ADMITTED for verdict, _ in told)
        assert admitted <= limit + limit * passed_ms / SPAN


@pytest.fixture
def script() -> Script:
    return Script()


def said(script: Script, limits: Limits, *asked: int, gateway: str = "a@h:1", after_ms: int = 0) -> list[Verdict]:
    return [verdict for verdict, _ in script.take(limits, Turn(after_ms, gateway, 0, EMPTY, list(asked)))]


def test_others_leases_last_as_they_were_told_and_no_longer(script: Script) -> None:
    limits = Limits(requests_at_once=4)
    for gateway in ("a@h:1", "b@h:1"):
        script.take(limits, Turn(0, gateway, 2, EMPTY, []))
    for after_ms in (LEASE_MS - 1, 1):
        assert said(script, limits, 0, gateway="c@h:1", after_ms=after_ms) == [AT_ONCE]
    assert said(script, limits, 0, gateway="c@h:1", after_ms=1) == [ADMITTED]


def test_what_one_gateway_is_let_in_for_counts_for_the_next(script: Script) -> None:
    limits = Limits(requests_at_once=2, requests_per_minute=3)
    assert said(script, limits, 0, 0, 0) == [ADMITTED, ADMITTED, AT_ONCE]
    assert said(script, limits, 0, gateway="b@h:1") == [AT_ONCE]
    assert said(script, limits, 0, 0, gateway="b@h:1", after_ms=LEASE_MS + 1) == [ADMITTED, REQUESTS]


def test_a_debt_is_of_an_hour(script: Script) -> None:
    limits = Limits(tokens_per_minute=10)
    ((_, levels),) = script.take(limits, Turn(0, "a@h:1", 0, Levels(0, 10**15), [0]))
    assert levels.tokens == 60 * 10 * SPAN
    assert said(script, limits, 1, 0) == [TOKENS, ADMITTED]


def test_a_key_of_another_type_is_an_empty_bucket(script: Script) -> None:
    script.store.call(limit_calls.api_key_put("a", b"", b"row", "v"))
    script.store.data[keys.limit(NAME).encode()] = script.store.data[keys.API_KEYS.encode()]
    assert said(script, Limits(requests_per_minute=1), 0, 0) == [ADMITTED, REQUESTS]


async def test_a_lease_that_nobody_can_have_taken_is_none(script: Script) -> None:
    row = f"{script.store.now_ms} 5 0 0 x@h:1={6 + SPAN}/9"
    await script.store.command("SET", keys.limit(NAME), row)
    assert said(script, Limits(requests_at_once=1), 0, 0) == [ADMITTED, AT_ONCE]


async def test_what_nobody_uses_for_a_day_is_forgotten(script: Script) -> None:
    said(script, Limits(requests_per_minute=1), 0)
    script.store.now_ms += DAY_MS - 1
    assert await script.store.command("GET", keys.limit(NAME)) is not None
    script.store.now_ms += 2
    assert await script.store.command("GET", keys.limit(NAME)) is None


def test_keys_are_written_once_and_changed_by_who_has_read_them(script: Script) -> None:
    def put(read: bytes, row: bytes, version: str) -> str:
        (answer,) = script.store.call(limit_calls.api_key_put("a", read, row, version))
        return str(answer.decode())

    def rows(known: bytes = b"") -> list[bytes]:
        found: list[bytes] = script.store.call(limit_calls.api_keys_read(known))
        return found

    assert rows() == [b""]
    assert rows(b"v0") == [b""]
    assert put(b"", b"one", "v1") == "ok"
    assert rows() == [b"v1", b"a", b"one"]
    assert (rows(b"v1"), rows(b"v0")) == ([b"v1"], [b"v1", b"a", b"one"])
    assert (put(b"", b"two", "v2"), put(b"other", b"two", "v2")) == ("changed", "changed")
    assert put(b"one", b"two", "v2") == "ok"
    assert rows(b"v1") == [b"v2", b"a", b"two"]
    assert put(b"two", b"", "v3") == "ok"
    assert rows(b"v2") == [b"v3"]
    assert put(b"two", b"three", "v4") == "changed"
    assert rows() == [b"v3"]
