"""What planning one request costs a gateway: `python -m benchmarks.planning`.

Plans requests of 10 to 8,000 tokens for pools of 8, 72 and 1,000 loaded ranks: mixed ones, as many prefill as decode
ranks, and 8 decode ranks for each prefill rank; 8 ranks a node. Prints the CPU time of a plan in µs, the least and the
median of the rounds, and how large its ask is.
"""

from __future__ import annotations

import statistics
import time
from random import Random

import click
import msgspec

from scheduler.decision import RequestShape
from scheduler.planning import Plan, Rules, plan
from scheduler.policies import POLICIES
from scheduler.rows import BookLoad
from scheduler.view import PoolView
from tests.scheduler.samples import pd_rank, view

ROUNDS = 30
REQUESTS = 40
RANKS_PER_NODE = 8
POOLS = {"mixed": "m", "1 P : 1 D": "pd", "1 P : 8 D": "pdddddddd"}
"""Roles of the ranks, repeated."""


def pool(roles: str, ranks: int, chance: Random) -> PoolView:
    """Ranks that all carry load."""
    return view(
        *(
            pd_rank(
                f"{roles[number % len(roles)]}{number}.example.net:8000",
                BookLoad(
                    queued_tokens=chance.randrange(1, 10_000),
                    prompts=1,
                    requests=chance.randrange(20),
                    engine_kv_tokens=chance.randrange(50_000),
                ),
                node=f"node-{number // RANKS_PER_NODE}",
                kv_capacity_tokens=500_000,
            )
            for number in range(ranks)
        )
    )


def one_round(of: PoolView, rules: Rules, chance: Random) -> tuple[float, Plan]:
    """Microseconds per plan, and the last one."""
    shapes = [
        RequestShape(
            prompt_tokens=chance.randrange(10, 8_000), output_tokens=300, prompt_key=str(number), pairable=True
        )
        for number in range(REQUESTS)
    ]
    started = time.process_time()
    plans = [plan(shape, of, rules, pool_ms=100.0, turn=turn, chance=chance) for turn, shape in enumerate(shapes)]
    took = (time.process_time() - started) / REQUESTS * 1e6
    last = plans[-1]
    assert last is not None
    return took, last


@click.command(help=__doc__)
def main() -> None:
    """Measure all policies."""
    chance = Random(1)
    for name, policy in POLICIES.items():
        for kind, roles in POOLS.items():
            for ranks in (8, 72, 1_000):
                of = pool(roles, ranks, chance)
                rules = Rules(policy=policy, connectors=frozenset({"nixl"}))
                rounds, plans = zip(*(one_round(of, rules, chance) for _ in range(ROUNDS)), strict=True)
                ask = plans[-1].ask
                size = f"{len(ask.singles):2} + {len(ask.prefills):2} x {len(ask.decodes):2}"
                encoded = len(msgspec.json.encode(ask))
                least, median = min(rounds), statistics.median(rounds)
                print(f"{name:>14}, {ranks:5} {kind}: {least:6.0f} {median:6.0f} µs   {size}, {encoded} bytes")  # noqa: T201


if __name__ == "__main__":
    main()
