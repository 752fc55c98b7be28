"""Many placements on an idle simulated fleet before any gateway has seen what another did."""

from __future__ import annotations

from collections import Counter
from random import Random

from simulator.cluster.fleet import run
from simulator.cluster.request import BLOCK_TOKENS, SimRequest
from simulator.cluster.settings import FleetSettings

PROMPT_BLOCKS = 4
WITHIN_S = 0.25
NEVER_MS = 3_600_000


def requests_within(seconds: float, requests: int, chance: Random) -> list[SimRequest]:
    """Prompts that share nothing, at random times."""
    arrivals_s = sorted(chance.random() * seconds for _ in range(requests))
    return [
        SimRequest(
            number=number,
            arrival_s=arrival_s,
            prompt_tokens=PROMPT_BLOCKS * BLOCK_TOKENS,
            output_tokens=100,
            blocks=tuple(range(PROMPT_BLOCKS * number, PROMPT_BLOCKS * (number + 1))),
        )
        for number, arrival_s in enumerate(arrivals_s)
    ]


def placed_at_once(placements: int, gateways: int, *, ranks: int, policy: str, seed: int = 1) -> Counter[str]:
    """How many of `placements` each mixed rank gets within a snapshot period; all gateways see an idle fleet."""
    settings = FleetSettings(
        prefill=0,
        decode=0,
        mixed=ranks,
        gateways=gateways,
        policy=policy,
        seed=seed,
        snapshot_ms=NEVER_MS,
        report_ms=NEVER_MS,
    )
    outcomes = run(requests_within(WITHIN_S, placements, Random(seed)), settings)
    return Counter(outcome.prefill_rank for outcome in outcomes)
