"""What a step costs."""

import pytest

from simulator.settings import RankSettings
from simulator.timing import timing_of


@pytest.mark.parametrize(
    ("prefill_tokens", "decode_seqs", "step_ms"),
    [
        pytest.param(8000, 0, 1020, id="a prefill is 20 ms and a second per 8,000 tokens"),
        pytest.param(0, 1, 6.35, id="one sequence decodes in 6.35 ms"),
        pytest.param(0, 64, 28.4, id="64 sequences decode in 28.4 ms"),
        pytest.param(800, 10, 123.5, id="decoding beside a prefill waits for it"),
    ],
)
def test_a_step_costs(prefill_tokens: int, decode_seqs: int, step_ms: float) -> None:
    assert timing_of(RankSettings()).step_s(prefill_tokens, decode_seqs) == pytest.approx(step_ms / 1000)


def test_speed_divides_every_time() -> None:
    slow, quick = timing_of(RankSettings()), timing_of(RankSettings(speed=50))
    for load in ((100, 0), (0, 5), (100, 5)):
        assert quick.step_s(*load) == pytest.approx(slow.step_s(*load) / 50)
