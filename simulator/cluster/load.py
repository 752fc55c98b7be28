"""What load a workload is to a fleet, and the same workload at another load. Pure.

Load 1 is the rate of arrivals at which an ideal fleet is busy all the time: perfectly balanced, and with one prefix
cache for all its ranks, of the size of all of theirs. The base cost of a step that prefills and attention are left
out, so a fleet saturates a little below. A mixed rank counts in full for both kinds of work.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import msgspec

from simulator.cluster.request import BLOCK_TOKENS, SimRequest
from simulator.cluster.workloads.errors import WorkloadError
from simulator.timing import Timing


class FleetCapacity(msgspec.Struct, frozen=True, kw_only=True):
    """What a fleet can do in a second, and how many blocks of prompts the ranks that prefill can keep."""

    prefill_tokens_per_s: float
    decode_tokens_per_s: float
    cache_blocks: int


def fleet_capacity(
    timing: Timing, *, prefilling: int, decoding: int, max_num_seqs: int, cache_tokens: int
) -> FleetCapacity:
    """The capacity of so many ranks that prefill and so many that decode, mixed ones being both; batches are full.

    The caches of those that prefill hold `cache_tokens` together.
    """
    return FleetCapacity(
        prefill_tokens_per_s=prefilling * timing.prefill_tokens_per_s,
        decode_tokens_per_s=decoding * max_num_seqs / timing.step_s(0, max_num_seqs),
        cache_blocks=cache_tokens // BLOCK_TOKENS,
    )


def uncached_tokens(requests: Sequence[SimRequest], cache_blocks: int) -> list[int]:
    """The prompt tokens of each request that one LRU cache of so many blocks does not hold when it comes."""
    cache: OrderedDict[int, None] = OrderedDict()
    found = []
    for request in requests:
        hits = 0
        for block in request.cacheable_blocks:
            if block not in cache:
                break
            hits += 1
        found.append(request.prompt_tokens - hits * BLOCK_TOKENS)
        # The end of a prefix is worth nothing without its beginning, so the beginning is kept longest.
        for block in reversed(request.blocks):
            cache[block] = None
            cache.move_to_end(block)
        while len(cache) > cache_blocks:
            cache.popitem(last=False)
    return found


def load_of(requests: Sequence[SimRequest], capacity: FleetCapacity) -> float:
    """The load that requests are at the times they come; raises WorkloadError where they all come at once."""
    return _rate_rps(requests) * _ideal_s(requests, capacity)


def at_load(requests: Sequence[SimRequest], capacity: FleetCapacity, load: float) -> list[SimRequest]:
    """The same requests at times that make them `load`; raises WorkloadError as `load_of` does."""
    factor = load_of(requests, capacity) / load
    begin_s = requests[0].arrival_s
    return [msgspec.structs.replace(request, arrival_s=(request.arrival_s - begin_s) * factor) for request in requests]


def _rate_rps(requests: Sequence[SimRequest]) -> float:
    span_s = requests[-1].arrival_s - requests[0].arrival_s
    if span_s <= 0:
        who = (
            f"{len(requests)} requests come all at once" if len(requests) > 1 else "only request has no other to follow"
        )
        raise WorkloadError(f"the workload's {who}: there is no rate to scale")
    return (len(requests) - 1) / span_s


def _ideal_s(requests: Sequence[SimRequest], capacity: FleetCapacity) -> float:
    """The seconds that the fleet's busier half needs for a request, on average."""
    prompt_tokens = sum(uncached_tokens(requests, capacity.cache_blocks)) / len(requests)
    output_tokens = sum(request.output_tokens for request in requests) / len(requests)
    return max(prompt_tokens / capacity.prefill_tokens_per_s, output_tokens / capacity.decode_tokens_per_s)
