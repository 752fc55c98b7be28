"""Figures of made-up outcomes."""

from collections.abc import Sequence

import msgspec
import pytest

from simulator.cluster.figures import Figures, Run, figures
from simulator.cluster.outcome import Outcome
from simulator.cluster.request import SimRequest
from simulator.cluster.slo import Slo
from simulator.cluster.spread import Spread
from simulator.settings import RankSettings
from simulator.timing import timing_of

SLO = Slo(timing=timing_of(RankSettings()), max_num_batched_tokens=8192)


def outcome(
    number: int = 0,
    *,
    arrival_s: float = 0.0,
    ttft_s: float = 0.5,
    tpot_s: float = 0.01,
    prompt_tokens: int = 1000,
    output_tokens: int = 11,
    cached_tokens: int = 0,
    ranks: tuple[str, str] = ("p0", "d0"),
    gateway: int = 0,
    rejected: bool = False,
) -> Outcome:
    request = SimRequest(
        number=number, arrival_s=arrival_s, prompt_tokens=prompt_tokens, output_tokens=output_tokens, blocks=()
    )
    return Outcome(
        request=request,
        gateway=gateway,
        prefill_rank="" if rejected else ranks[0],
        decode_rank="" if rejected else ranks[1],
        placed_s=arrival_s,
        first_token_s=arrival_s + ttft_s,
        finished_s=arrival_s + ttft_s + tpot_s * (output_tokens - 1),
        cached_tokens=cached_tokens,
        rejected=rejected,
    )


def of(found: Spread | None) -> Spread:
    assert found
    return found


def found(*outcomes: Outcome, warm_up: float = 0.0, gateways: int = 1, slo: Slo = SLO) -> Figures:
    return of_runs([outcomes], warm_up=warm_up, gateways=gateways, slo=slo)


def of_runs(runs: Sequence[Sequence[Outcome]], *, warm_up: float = 0.0, gateways: int = 1, slo: Slo = SLO) -> Figures:
    numbered = [Run(seed=seed, outcomes=outcomes) for seed, outcomes in enumerate(runs, start=1)]
    return figures(numbered, slo, prefilling=2, gateways=gateways, warm_up=warm_up)


def test_times_are_in_milliseconds() -> None:
    result = found(outcome(ttft_s=0.5, tpot_s=0.01, output_tokens=11))
    assert (of(result.ttft_ms).mean, of(result.tpot_ms).mean, of(result.e2e_ms).mean) == pytest.approx((500, 10, 600))


def test_an_answer_of_one_token_has_no_time_per_token() -> None:
    result = found(outcome(output_tokens=1), outcome(1, tpot_s=0.02))
    assert of(result.tpot_ms).mean == pytest.approx(20)
    assert found(outcome(output_tokens=1)).goodput == 1


def test_the_warm_up_is_cut_off_by_arrival_and_counted_all_the_same() -> None:
    outcomes = [outcome(number, arrival_s=number, ttft_s=9 if number < 2 else 1) for number in range(20)]
    result = found(*reversed(outcomes), warm_up=0.1)
    assert of(result.ttft_ms).p99 == pytest.approx(1000)
    assert sum(result.placements_by_gateway.values()) == 20


@pytest.mark.parametrize(
    ("ttft_s", "tpot_s", "is_met"),
    [
        # 8,000 tokens take an idle rank 1.02 s, one sequence decodes in 6.35 ms.
        pytest.param(3.03, 0.0126, True, id="just within"),
        pytest.param(3.05, 0.0126, False, id="first-token-late"),
        pytest.param(3.03, 0.0128, False, id="tokens-slow"),
    ],
)
def test_the_slo_follows_what_an_idle_rank_needs(ttft_s: float, tpot_s: float, is_met: bool) -> None:
    one = outcome(prompt_tokens=8000, ttft_s=ttft_s, tpot_s=tpot_s)
    assert found(one).goodput == is_met
    assert found(one, slo=msgspec.structs.replace(SLO, scale=2.0)).goodput == 1
    assert found(one, slo=msgspec.structs.replace(SLO, scale=0.5)).goodput == 0


def test_an_idle_prefill_longer_than_a_step_pays_for_every_step() -> None:
    assert SLO.timing.prompt_s(20_000, SLO.max_num_batched_tokens) == pytest.approx(3 * 0.02 + 20_000 / 8000)


def test_a_rejected_request_is_no_goodput_and_has_no_time() -> None:
    result = found(outcome(), outcome(1, ttft_s=99, rejected=True))
    assert (result.goodput, result.rejected) == (0.5, 1)
    assert of(result.ttft_ms).mean == pytest.approx(500)
    assert result.placements_by_rank == {"d0": 1, "p0": 1}


def test_nothing_but_rejections_is_no_time_and_no_hit_rate_and_no_balance() -> None:
    result = found(outcome(rejected=True))
    assert (result.goodput, result.throughput_rps, result.rejected) == (0, 0, 1)
    assert (result.ttft_ms, result.ttft_late_ms, result.tpot_ms, result.e2e_ms) == (None, None, None, None)
    assert (result.hit_rate, result.hit_rate_se, result.believed_hit_rate, result.imbalance) == (None, None, None, None)
    (run,) = result.seeds
    assert (run.ttft_ms, run.ttft_late_ms, run.hit_rate, run.goodput) == (None, None, None, 0)
    assert result.placements_by_gateway == {"0": 0}


def test_a_run_of_rejections_alone_does_not_count_where_times_and_balance_are_told() -> None:
    result = of_runs([[outcome(ttft_s=1)], [outcome(rejected=True)]])
    assert of(result.ttft_ms).mean == pytest.approx(1000)
    assert (result.imbalance, result.goodput) == (2, 0.5)
    assert [run.ttft_ms for run in result.seeds] == [pytest.approx(1000), None]


def test_the_hit_rate_is_of_tokens_not_of_requests() -> None:
    result = found(outcome(prompt_tokens=1000, cached_tokens=500), outcome(1, prompt_tokens=9000))
    assert result.hit_rate == pytest.approx(0.05)


def test_imbalance_is_the_busiest_ranks_work_over_the_mean() -> None:
    assert found(outcome(ranks=("p0", "d0")), outcome(1, ranks=("p1", "d0"))).imbalance == pytest.approx(1)
    assert found(outcome(), outcome(1)).imbalance == pytest.approx(2)
    uneven = outcome(1, prompt_tokens=4000, cached_tokens=1000, ranks=("p1", "d0"))
    assert found(outcome(), uneven).imbalance == pytest.approx(1.5)


def test_placements_are_counted_by_gateway_and_by_rank() -> None:
    alone = outcome(1, gateway=2, ranks=("m0", "m0"))
    result = found(outcome(gateway=10), alone, gateways=11)
    assert list(result.placements_by_gateway) == [str(number) for number in range(11)]
    assert {name: times for name, times in result.placements_by_gateway.items() if times} == {"2": 1, "10": 1}
    assert result.placements_by_rank == {"d0": 1, "m0": 1, "p0": 1}


def test_throughput_is_from_the_first_arrival_to_the_last_end() -> None:
    outcomes = [outcome(number, arrival_s=10 + number, ttft_s=1, output_tokens=1) for number in range(10)]
    assert found(*outcomes).throughput_rps == pytest.approx(1)


def test_several_runs_give_means_with_the_error_between_them() -> None:
    result = of_runs([[outcome(ttft_s=1)] * 5, [outcome(ttft_s=3)] * 5])
    assert of(result.ttft_ms).mean == pytest.approx(2000)
    assert of(result.ttft_ms).se == pytest.approx(1000)
    assert [run.ttft_ms for run in result.seeds] == pytest.approx([1000, 3000])
    assert [run.seed for run in result.seeds] == [1, 2]
    assert result.placements_by_rank == {"d0": 10, "p0": 10}


def test_a_run_alone_has_the_error_of_its_batches() -> None:
    # Four stretches of the run, each at another level: hardly more than four samples.
    outcomes = [outcome(number, arrival_s=number, ttft_s=1 + number // 250) for number in range(1000)]
    result = found(*outcomes)
    assert of(result.ttft_ms).se > 300
    assert result.seeds[0].ttft_within_se_ms == of(result.ttft_ms).se


def test_the_late_requests_are_the_last_third_or_so() -> None:
    outcomes = [outcome(number, arrival_s=number, ttft_s=1.0 if number < 65 else 3.0) for number in range(100)]
    result = found(*outcomes)
    assert of(result.ttft_late_ms).mean == result.seeds[0].ttft_late_ms == pytest.approx(3000)
