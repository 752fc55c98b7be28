"""Requests and legs for rules to hear of."""

from __future__ import annotations

from scheduler.decision import LegKind
from simulator.cluster.peers.polled import Polled, RankSample
from simulator.cluster.peers.rule import Leg, Rule
from simulator.cluster.request import BLOCK_TOKENS, SimRequest

RANKS = ("a", "b", "c", "d")


def request(number: int = 0, prompt_tokens: int = 0, blocks: tuple[int, ...] = ()) -> SimRequest:
    """A request; without a length its prompt is its blocks and one token."""
    return SimRequest(
        number=number,
        arrival_s=0.0,
        prompt_tokens=prompt_tokens or len(blocks) * BLOCK_TOKENS + 1,
        output_tokens=10,
        blocks=blocks,
    )


def prefill(rank: str, of: SimRequest) -> Leg:
    """A prefill leg."""
    return Leg(LegKind.PREFILL, rank, of)


def decode(rank: str, of: SimRequest) -> Leg:
    """A decode leg."""
    return Leg(LegKind.DECODE, rank, of)


def whole(rank: str, of: SimRequest) -> Leg:
    """A leg that does both."""
    return Leg(LegKind.WHOLE, rank, of)


def begin(rule: Rule, *legs: Leg) -> None:
    """The rule hears that these begin."""
    for leg in legs:
        rule.began(leg)


def polled(**samples: RankSample) -> Polled:
    """What was read at one poll."""
    known = Polled()
    known.take(samples)
    return known


def chosen(rule: Rule, asked: SimRequest, times: int = 200) -> set[str]:
    """The ranks that a prefill goes to if it is asked so often and never sent."""
    return {rule.prefill_rank(asked, RANKS) for _ in range(times)}
