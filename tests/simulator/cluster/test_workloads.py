"""Workloads that are drawn have the shape they say."""

from collections import Counter
from itertools import pairwise
from random import Random
from statistics import fmean, stdev

import pytest

from simulator.cluster.request import BLOCK_TOKENS, SimRequest
from simulator.cluster.workloads import WORKLOADS
from simulator.cluster.workloads.burst import with_burst
from simulator.cluster.workloads.errors import WorkloadError
from simulator.cluster.workloads.part import part

MANY = 6000


def drawn(name: str, requests: int = MANY, seed: int = 1) -> list[SimRequest]:
    return WORKLOADS[name](requests, Random(seed))


def gaps_s(requests: list[SimRequest]) -> list[float]:
    return [later.arrival_s - request.arrival_s for request, later in pairwise(requests)]


@pytest.mark.parametrize("name", sorted(WORKLOADS))
def test_requests_come_in_order_about_one_a_second(name: str) -> None:
    requests = drawn(name)
    assert [request.number for request in requests] == list(range(MANY))
    assert all(gap_s >= 0 for gap_s in gaps_s(requests))
    assert fmean(gaps_s(requests)) == pytest.approx(1, abs=0.15)


@pytest.mark.parametrize("name", sorted(WORKLOADS))
def test_a_prompt_has_the_whole_blocks_of_its_tokens(name: str) -> None:
    for request in drawn(name):
        assert len(request.blocks) == request.prompt_tokens // BLOCK_TOKENS
        assert request.output_tokens >= 1
        assert request.prompt_tokens >= 1


@pytest.mark.parametrize("name", sorted(WORKLOADS))
def test_an_id_stands_for_all_that_is_before_it(name: str) -> None:
    before: dict[int, tuple[int, ...]] = {}
    for request in drawn(name):
        for index, block in enumerate(request.blocks):
            assert block >= 0
            assert before.setdefault(block, request.blocks[:index]) == request.blocks[:index]


@pytest.mark.parametrize("name", sorted(WORKLOADS))
def test_a_seed_gives_the_same_requests_and_another_others(name: str) -> None:
    assert drawn(name, 50) == drawn(name, 50)
    assert drawn(name, 50) != drawn(name, 50, seed=2)


def test_bursty_gaps_spread_three_times_as_far_as_poissons() -> None:
    poisson, bursty = gaps_s(drawn("poisson")), gaps_s(drawn("bursty"))
    assert stdev(poisson) / fmean(poisson) == pytest.approx(1, abs=0.1)
    assert stdev(bursty) / fmean(bursty) == pytest.approx(3, abs=0.4)


def test_every_group_shares_a_context_and_each_of_its_users_asks_once_a_round() -> None:
    requests = drawn("shared_prefix", 1500)
    first_round = Counter(request.blocks[:11] for request in requests[:750])
    assert len(first_round) == 150
    assert set(first_round.values()) == {5}
    assert {request.prompt_tokens for request in requests} == {7200}
    questions = [request.blocks[11:] for request in requests]
    assert len(set(questions)) == len(questions)


@pytest.mark.parametrize(
    ("name", "share", "documents", "blocks"),
    [pytest.param("hot", 0.5, 4, 16, id="four"), pytest.param("hottest", 0.7, 1, 32, id="one")],
)
def test_hot_documents_are_before_their_share_of_prompts(name: str, share: float, documents: int, blocks: int) -> None:
    begins = Counter(request.blocks[:blocks] for request in drawn(name) if len(request.blocks) >= blocks)
    hot = [times for times in begins.values() if times > 1]
    assert len(hot) == documents
    assert sum(hot) == pytest.approx(share * MANY, rel=0.1)


def test_a_chat_goes_on_from_what_was_said() -> None:
    requests = drawn("multi_turn")
    assert len({request.blocks[:3] for request in requests}) == 1
    assert len({request.blocks[:8] for request in requests}) == 8
    chats: dict[int, list[SimRequest]] = {}
    for request in requests:
        if len(request.blocks) > 8:
            chats.setdefault(request.blocks[8], []).append(request)
    longer = [turns for turns in chats.values() if len(turns) > 1]
    assert len(longer) > 100
    for turns in longer:
        for before, after in pairwise(turns):
            assert after.blocks[: len(before.blocks)] == before.blocks
            assert after.prompt_tokens > before.prompt_tokens + before.output_tokens


def test_chats_have_six_turns_and_200_requests_between_two_of_them() -> None:
    requests = drawn("multi_turn", 20_000)
    turns = Counter(request.blocks[8] for request in requests if len(request.blocks) > 8)
    begun = 20_000 / len(turns)
    assert begun == pytest.approx(6, rel=0.25)
    assert 1 < max(turns.values()) < 60


def test_a_burst_makes_a_tenth_of_the_requests_come_faster_and_keeps_every_other_gap() -> None:
    requests = drawn("poisson", 100)
    before, after = gaps_s(requests), gaps_s(with_burst(requests, 2.0))
    inside = [index for index, (old, new) in enumerate(zip(before, after, strict=True)) if new < 0.75 * old]
    assert inside == list(range(40, 50))
    assert [after[index] for index in inside] == pytest.approx([before[index] / 2 for index in inside])
    assert after[:40] + after[50:] == pytest.approx(before[:40] + before[50:])


def test_two_parts_are_the_whole() -> None:
    requests = drawn("poisson", 100)
    first, second = part(requests, 0, 60), part(requests, 60, None)
    assert [request.blocks for request in first + second] == [request.blocks for request in requests]
    assert [request.number for request in second] == list(range(40))
    assert second[0].arrival_s == 0
    assert gaps_s(second) == pytest.approx(gaps_s(requests[60:]))


def test_no_part_is_empty() -> None:
    with pytest.raises(WorkloadError, match="100 requests, so none is left after the first 100"):
        part(drawn("poisson", 100), 100, 5)
