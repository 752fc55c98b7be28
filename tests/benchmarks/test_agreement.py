"""What real ranks and simulated ones are compared by."""

from pathlib import Path
from random import Random

import msgspec
import pytest

from benchmarks import agreement
from benchmarks.agreement import SLOW, AgreementSettings, Compared, Fleet, hit_rate, mean_ttft_s, requests_of
from benchmarks.agreement_fleet import real_fleet
from benchmarks.agreement_sender import Sender
from benchmarks.agreement_workload import body_of, prompt_ids, requests_at_load
from gateway.blocks import blocks_of_ids
from simulator.cluster.fleet import run
from simulator.cluster.load import load_of
from simulator.cluster.request import BLOCK_TOKENS
from simulator.cluster.workloads import WORKLOADS
from simulator.model import prompt_states
from simulator.tokens import first_unknown
from tests.servers import needs_redis

REQUESTS = WORKLOADS["multi_turn"](60, Random(1))


def test_its_variables_are_not_those_that_forebay_would_refuse() -> None:
    variables = [str(parameter.envvar) for parameter in agreement.main.params if parameter.envvar]
    assert variables
    assert all(name.startswith("BENCH_") for name in variables)


def test_a_prompt_has_its_tokens_and_no_others_than_the_vocabulary_has() -> None:
    for request in REQUESTS:
        ids = prompt_ids(request)
        assert len(ids) == request.prompt_tokens
        assert first_unknown(ids) is None


def test_the_blocks_of_ranks_and_gateways_are_those_of_the_simulation() -> None:
    of_ranks: dict[int, int] = {}
    of_gateways: dict[int, bytes] = {}
    for request in REQUESTS:
        ids = prompt_ids(request)
        keys, _ = prompt_states(ids, BLOCK_TOKENS)
        hashes = blocks_of_ids(ids)
        assert len(keys) == len(hashes) == len(request.blocks)
        for block, key, found in zip(request.blocks, keys, hashes, strict=True):
            assert of_ranks.setdefault(block, key) == key
            assert of_gateways.setdefault(block, found) == found
    assert len(set(of_ranks.values())) == len(set(of_gateways.values())) == len(of_ranks)


def test_a_body_asks_for_the_tokens_of_the_workload() -> None:
    body = msgspec.json.decode(body_of(REQUESTS[0], "sim"))
    assert body["prompt"] == prompt_ids(REQUESTS[0])
    assert (body["max_tokens"], body["ignore_eos"], body["stream"]) == (REQUESTS[0].output_tokens, True, True)


def test_requests_come_at_the_load_with_shorter_answers() -> None:
    requests = requests_at_load(REQUESTS, 50, 20, SLOW.capacity, 0.7)
    assert len(requests) == 50
    assert max(request.output_tokens for request in requests) == 20
    assert all(request.max_tokens == request.output_tokens for request in requests)
    assert load_of(requests, SLOW.capacity) == pytest.approx(0.7)


def test_a_fleet_is_eight_mixed_ranks_unless_others_are_named() -> None:
    assert Fleet().options == SLOW
    pairs = Fleet(prefill=4, decode=4).options
    assert (pairs.mixed, pairs.prefill, pairs.decode) == (0, 4, 4)


def test_a_seed_gives_the_same_requests_and_another_others() -> None:
    settings = AgreementSettings(workload="hot", requests=20)
    assert requests_of(settings, 1) == requests_of(settings, 1) != requests_of(settings, 2)


def test_a_line_says_by_how_much_they_differ() -> None:
    line = Compared(
        seed=3,
        seconds=60.0,
        real_ttft_s=1.1,
        simulated_ttft_s=1.0,
        simulated_sd_s=0.05,
        real_hit_rate=0.4,
        simulated_hit_rate=0.41,
        most_late_s=0.2,
        cores={"ranks": 0.1},
        mishaps={'event="prefix_misses"': 2.0},
    )
    assert "real 1.100 s, simulated 1.000 ± 0.050 s (sd): 1.100; hits 0.400 and 0.410" in str(line)
    assert 'sent up to 200 ms late; 2 x event="prefix_misses"' in str(line)


@needs_redis
def test_real_ranks_find_in_their_caches_what_simulated_ones_do(tmp_path: Path) -> None:
    fleet = Fleet(prefill=1, decode=1)
    quick = msgspec.structs.replace(
        fleet.options, gateways=1, prefill_tokens_per_s=1e6, attention_ms_per_million_pairs=0.0, prefill_step_ms=1.0
    )
    # One after the other, so that it does not matter how soon each ends.
    requests = [
        msgspec.structs.replace(request, arrival_s=0.25 * number, output_tokens=3, blocks=(7,), prompt_tokens=600)
        for number, request in enumerate(REQUESTS[:8])
    ]
    with real_fleet(quick, "forebay", tmp_path) as running:
        sender, cores = agreement.sent(running, requests, seed=1)
    assert isinstance(sender, Sender)
    assert set(cores) == {"ranks", "agents", "gateways", "redis"}
    simulated = run(requests, quick.settings_of(agreement.case_of(AgreementSettings(fleet=fleet)), 1))
    for outcomes in (sender.outcomes, simulated):
        assert len(outcomes) == 8
        assert mean_ttft_s(outcomes) > 0
        assert hit_rate(outcomes) == pytest.approx(7 * BLOCK_TOKENS / (8 * 600))
    assert {outcome.decode_rank for outcome in sender.outcomes} == {"decode0"}
