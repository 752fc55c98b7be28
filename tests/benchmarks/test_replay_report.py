"""What a replay's answers are summed up to."""

import pytest

from benchmarks.replay_report import make_report, percentiles_ms
from benchmarks.stream import Answer


def answer(rank: str = "r1", gateway: str = "g1", error: str = "") -> Answer:
    return Answer(
        sent_s=1.0,
        chunks_s=[] if error else [1.5, 1.6, 1.9],
        prompt_tokens=10,
        completion_tokens=5,
        gateway=gateway,
        ranks=(rank,),
        error=error,
    )


def faults(*answers: Answer, reservations_gone_s: float | None = 0.1, misuses: int | None = 0) -> list[str]:
    report = make_report(
        answers,
        lags_s=[0.0],
        seconds=2.0,
        ranks=["r1", "r2"],
        gateways={"g1"},
        reservations_gone_s=reservations_gone_s,
        misuses=misuses,
    )
    return report.faults


def test_times_are_to_the_first_chunk_between_chunks_and_per_token_after_the_first_chunk() -> None:
    report = make_report(
        [answer()], lags_s=[0.002], seconds=2.0, ranks=["r1"], gateways={"g1"}, reservations_gone_s=0.1, misuses=None
    )
    assert report.ttft_ms.p50 == 500.0
    assert report.chunk_gap_ms.p99 == pytest.approx(300.0)
    assert report.inter_token_ms.p50 == 100.0
    assert report.requests_per_s == 0.5
    assert report.faults == []


def test_an_unused_rank_an_error_and_a_reservation_left_are_faults() -> None:
    assert faults(answer(), answer("r2")) == []
    assert faults(answer()) == ["nothing was placed on r2"]
    assert faults(answer(), answer("r2", error="status 503")) == ["1 x status 503"]
    assert faults(answer(), answer("r2"), reservations_gone_s=None) == ["reservations were left after 2 s"]
    assert faults(answer(), answer("r2"), misuses=3) == ["KV was misused 3 times"]


def test_percentiles_are_values_that_occurred() -> None:
    values = percentiles_ms(value / 1000 for value in range(1, 102))
    assert (values.p50, values.p99) == (51.0, 100.0)
    assert percentiles_ms([]).p99 == 0.0
