"""What a load test makes of the times it has seen."""

from array import array

import pytest

from forebay.load_test.figures import figures, spread
from forebay.load_test.own_load import OwnLoad
from forebay.load_test.sample import Sample
from forebay.load_test.settings import LoadTestSettings


def sample(first_s: float = 1.0, last_s: float = 2.0, *, error: str = "", tokens: int = 11) -> Sample:
    return Sample(
        due_s=0.5, sent_s=0.5, held=False, end_s=last_s, error=error, first_s=first_s, last_s=last_s,
        prompt_tokens=100, output_tokens=tokens, gaps_s=array("d", [0.1] * 10),
    )  # fmt: skip


def test_times_are_counted_from_the_sending_and_per_token_after_the_first() -> None:
    found = figures([sample()], 4.0, LoadTestSettings())
    assert found.ttft
    assert found.tpot
    assert found.itl
    assert found.e2e
    assert (found.ttft.mean, found.tpot.mean, found.e2e.mean) == pytest.approx((500, 100, 1500))
    assert found.itl.count == 10
    assert found.itl.mean == pytest.approx(100)
    assert (found.requests_per_s, found.output_tokens_per_s, found.goodput) == (0.25, 2.75, None)


def test_what_failed_counts_by_its_kind_and_in_no_time() -> None:
    found = figures([sample(), sample(error="status 429"), sample(error="status 429")], 1.0, LoadTestSettings())
    assert (found.sent, found.succeeded, found.errors) == (3, 1, {"status 429": 2})
    assert found.ttft
    assert found.ttft.count == 1


def test_nothing_that_succeeded_has_no_times() -> None:
    found = figures([sample(error="no text")], 1.0, LoadTestSettings(slo_ttft_ms=1))
    assert (found.ttft, found.tpot, found.itl, found.e2e) == (None, None, None, None)
    assert found.goodput
    assert found.goodput.share == 0


@pytest.mark.parametrize(
    ("bounds", "kept"),
    [
        ({"slo_ttft_ms": 500.1}, 1),
        ({"slo_ttft_ms": 499.9}, 0),
        ({"slo_tpot_ms": 99.9}, 0),
        ({"slo_e2e_ms": 1499.9}, 0),
        ({"slo_ttft_ms": 600, "slo_tpot_ms": 110, "slo_e2e_ms": 1600}, 1),
    ],
)
def test_goodput_counts_requests_that_keep_every_bound(bounds: dict[str, float], kept: int) -> None:
    found = figures([sample(), sample(error="x")], 2.0, LoadTestSettings(**bounds))  # type: ignore[arg-type]
    assert found.goodput
    assert (found.goodput.per_s, found.goodput.share) == (kept / 2, kept / 2)


def test_a_percentile_lies_between_the_values_beside_it() -> None:
    found = spread([0.001 * value for value in range(1, 102)])
    assert found
    assert (found.p50, found.p90, found.p99, found.most) == pytest.approx((51, 91, 100, 101))
    assert spread([]) is None


def test_figures_that_are_the_clients_own_are_called_so() -> None:
    late, ttft = spread([0.020]), spread([0.100])
    assert "used 0.95 of the one core" in OwnLoad(cores=0.95, late=None, arrivals_late=None, held=0).doubts(ttft)
    assert "20.0 ms late" in OwnLoad(cores=0.1, late=late, arrivals_late=None, held=0).doubts(ttft)
    assert "20.0 ms late" in OwnLoad(cores=0.1, late=None, arrivals_late=late, held=0).doubts(ttft)
    assert not OwnLoad(cores=0.1, late=spread([0.001]), arrivals_late=None, held=0).doubts(ttft)
