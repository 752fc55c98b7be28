"""The load a workload is to a fleet."""

from random import Random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.cluster.load import FleetCapacity, at_load, fleet_capacity, load_of, uncached_tokens
from simulator.cluster.request import BLOCK_TOKENS, SimRequest
from simulator.cluster.workloads.errors import WorkloadError
from simulator.settings import RankSettings
from simulator.timing import timing_of

CAPACITY = FleetCapacity(prefill_tokens_per_s=1000, decode_tokens_per_s=100, cache_blocks=4)


def request(
    number: int, arrival_s: float, blocks: tuple[int, ...] = (), *, rest: int = 1, output: int = 1
) -> SimRequest:
    return SimRequest(
        number=number,
        arrival_s=arrival_s,
        prompt_tokens=len(blocks) * BLOCK_TOKENS + rest,
        output_tokens=output,
        blocks=blocks,
    )


chains = st.lists(
    st.integers(0, 3).flatmap(
        lambda tree: st.integers(0, 4).map(lambda length: tuple(10 * tree + depth for depth in range(length)))
    ),
    min_size=1,
    max_size=30,
)
workloads = st.lists(st.tuples(st.floats(0.001, 100), st.integers(1, 5000), st.integers(1, 500)), min_size=2).map(
    lambda rows: [
        request(number, sum(gap_s for gap_s, _, _ in rows[: number + 1]), rest=prompt, output=output)
        for number, (_, prompt, output) in enumerate(rows)
    ]
)


def test_a_fleets_capacity_is_that_of_its_ranks_at_full_batch() -> None:
    capacity = fleet_capacity(
        timing_of(RankSettings()), prefilling=8, decoding=4, max_num_seqs=64, cache_tokens=8 * 524_288
    )
    assert capacity.prefill_tokens_per_s == 64_000
    assert capacity.decode_tokens_per_s == pytest.approx(4 * 64 / 0.0284)
    assert capacity.cache_blocks == 8 * 1024


def test_load_one_keeps_the_busier_half_of_an_ideal_fleet_busy() -> None:
    prefilling = [request(number, number * 1.0, rest=1000) for number in range(11)]
    assert load_of(prefilling, CAPACITY) == pytest.approx(1)
    decoding = [request(number, number * 0.5, output=100) for number in range(11)]
    assert load_of(decoding, CAPACITY) == pytest.approx(2)


def test_what_an_ideal_cache_holds_is_no_load() -> None:
    requests = [request(number, number * 1.0, (1, 2), rest=100) for number in range(10)]
    assert uncached_tokens(requests, 4) == [1124] + [100] * 9


def test_the_last_token_is_always_computed() -> None:
    requests = [request(number, number * 1.0, (1, 2), rest=0) for number in range(2)]
    assert uncached_tokens(requests, 4) == [1024, 512]


def test_the_end_of_a_prefix_leaves_the_cache_before_its_beginning() -> None:
    requests = [request(0, 0, (1, 2, 3)), request(1, 1, (7, 8)), request(2, 2, (1, 2, 3))]
    assert uncached_tokens(requests, 4)[2] == BLOCK_TOKENS + 1


@given(chains, st.integers(0, 12))
def test_the_ideal_cache_agrees_with_a_slow_list(prompts: list[tuple[int, ...]], capacity: int) -> None:
    held: list[int] = []
    expected = []
    for blocks in prompts:
        hits = next((index for index, block in enumerate(blocks) if block not in held), len(blocks))
        expected.append((len(blocks) - hits) * BLOCK_TOKENS + 1)
        for block in blocks[::-1]:
            held = [each for each in held if each != block] + [block]
        held = held[max(0, len(held) - capacity) :]
    requests = [request(number, number, blocks) for number, blocks in enumerate(prompts)]
    assert uncached_tokens(requests, capacity) == expected


@given(workloads, st.floats(0.01, 10))
def test_a_scaled_workload_has_the_load_asked_for_and_the_same_requests(
    workload: list[SimRequest], load: float
) -> None:
    scaled = at_load(workload, CAPACITY, load)
    assert load_of(scaled, CAPACITY) == pytest.approx(load)
    assert scaled[0].arrival_s == 0
    assert [msgspec.structs.replace(each, arrival_s=0) for each in scaled] == [
        msgspec.structs.replace(each, arrival_s=0) for each in workload
    ]


@given(workloads, st.floats(0.1, 2))
def test_scaling_keeps_the_proportions_of_gaps(workload: list[SimRequest], load: float) -> None:
    once, twice = at_load(workload, CAPACITY, load), at_load(workload, CAPACITY, 2 * load)
    assert [each.arrival_s for each in once] == pytest.approx([2 * each.arrival_s for each in twice])


@pytest.mark.parametrize(("requests", "said"), [(1, "only request"), (3, "3 requests come all at once")])
def test_requests_that_come_all_at_once_have_no_load(requests: int, said: str) -> None:
    with pytest.raises(WorkloadError, match=said):
        load_of([request(number, 5.0) for number in range(requests)], CAPACITY)


def test_a_larger_cache_never_makes_more_load() -> None:
    chance = Random(1)
    prompts = [tuple(10 * chance.randrange(5) + depth for depth in range(3)) for _ in range(200)]
    requests = [request(number, number, blocks) for number, blocks in enumerate(prompts)]
    work = [sum(uncached_tokens(requests, blocks)) for blocks in range(20)]
    assert work == sorted(work, reverse=True)
    assert work[-1] < work[0]
