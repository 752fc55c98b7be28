"""The requests that simulated and real fleet get alike, and their prompts as token ids. Pure.

Each block of a prompt becomes 512 ids, the same wherever the block is, and what is behind the last whole block ids of
its own. So the ranks' prefix caches (of blocks of 512 tokens), the gateways' blocks and the simulation's are the same.
"""

from __future__ import annotations

from random import Random

import msgspec

from simulator.cluster.load import FleetCapacity, at_load
from simulator.cluster.request import BLOCK_TOKENS, SimRequest
from simulator.cluster.workloads.part import part

FIRST_ID, IDS = 100, 50_000
"""Ids above the special ones; so many that two blocks never begin alike."""


def requests_at_load(
    drawn: list[SimRequest], requests: int, most_output_tokens: int, capacity: FleetCapacity, load: float
) -> list[SimRequest]:
    """The first requests, none with a longer answer, at times that make them `load`; raises WorkloadError.

    Real ones are cut by a limit that their gateway sees, and so are all.
    """
    lengths = [(each, min(each.output_tokens, most_output_tokens)) for each in part(drawn, 0, requests)]
    shorter = [msgspec.structs.replace(each, output_tokens=tokens, max_tokens=tokens) for each, tokens in lengths]
    return at_load(shorter, capacity, load)


def prompt_ids(request: SimRequest) -> list[int]:
    """As many ids as the prompt has tokens."""
    ids = [each for block in request.blocks for each in _ids(f"block {block}", BLOCK_TOKENS)]
    return ids + _ids(f"request {request.number}", request.prompt_tokens - len(ids))


def body_of(request: SimRequest, model: str) -> bytes:
    """A streamed completion that ends only when it has all its tokens."""
    return msgspec.json.encode(
        {
            "model": model,
            "prompt": prompt_ids(request),
            "max_tokens": request.output_tokens,
            "ignore_eos": True,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
    )


def _ids(name: str, count: int) -> list[int]:
    return Random(name).choices(range(FIRST_ID, FIRST_ID + IDS), k=count)
