import pytest

from agent.evidence import Broken, EngineDead, Evidence, Refused, Silent
from agent.health import PortHealth, Progress, is_stalled, judge, progress
from agent.metrics_page import EngineSample
from tests.agent.samples import answered, engine

ANSWERED, SILENT, BROKEN = answered(), Silent("ReadTimeout"), Broken("/metrics answers 500")


@pytest.mark.parametrize(
    ("evidence", "down_because"),
    [
        pytest.param([ANSWERED], "", id="an answer"),
        pytest.param([ANSWERED, Refused()], "connection refused", id="one refusal"),
        pytest.param([ANSWERED, EngineDead()], "/health answers 503", id="a dead engine"),
        pytest.param([ANSWERED, BROKEN], "", id="one broken answer"),
        pytest.param([ANSWERED, BROKEN, BROKEN], "/metrics answers 500", id="two broken answers"),
        pytest.param([BROKEN, ANSWERED, BROKEN], "", id="two broken answers apart"),
        pytest.param([ANSWERED, *[SILENT] * 99], "", id="silence after an answer"),
        pytest.param([Refused(), SILENT], "connection refused", id="silence after a refusal"),
        pytest.param([BROKEN, SILENT, BROKEN], "/metrics answers 500", id="silence between broken answers"),
        pytest.param([Refused(), BROKEN], "connection refused", id="a broken answer after a refusal"),
        pytest.param([Refused(), ANSWERED], "", id="an answer after a refusal"),
    ],
)
def test_only_positive_evidence_takes_a_port_down(evidence: list[Evidence], down_because: str) -> None:
    health = PortHealth()
    for one in evidence:
        health = judge(health, one)
    assert health.down_because == down_because


@pytest.mark.parametrize(
    ("after", "moved"),
    [
        pytest.param(engine(running=2, steps=8.0, kv_usage=0.5), True, id="a step with a token"),
        pytest.param(engine(running=2, steps=7.0, kv_usage=0.5, generation_tokens=1.0), True, id="a token, old page"),
        pytest.param(engine(running=2, steps=7.0, kv_usage=0.5, prompt_tokens=1.0), True, id="a prompt, old page"),
        pytest.param(engine(running=2, steps=7.0, kv_usage=0.6), True, id="a chunk of a long prefill"),
        pytest.param(engine(running=2, steps=7.0, kv_usage=0.5), False, id="nothing"),
        pytest.param(engine(running=1, steps=7.0, kv_usage=0.4), False, id="an abort alone"),
        pytest.param(engine(running=2, steps=7.0, kv_usage=0.5, waiting=9), False, id="a longer queue alone"),
    ],
)
def test_progress_is_tokens_or_growing_kv(after: EngineSample, moved: bool) -> None:
    before = engine(running=2, steps=7.0, kv_usage=0.5)
    known = Progress(sampled_at_s=100.0, moved_at_s=90.0, running=2)
    assert progress(known, before, after, 101.0).moved_at_s == (101.0 if moved else 90.0)


def test_an_idle_engine_owes_no_progress() -> None:
    state = progress(None, None, engine(), 0.0)
    for second in range(1, 100):
        state = progress(state, engine(), engine(), float(second))
    busy = engine(running=1)
    state = progress(state, engine(), busy, 100.0)
    assert not is_stalled(state, [state], stall_s=10)
    state = progress(state, busy, busy, 110.0)
    assert is_stalled(state, [state], stall_s=10)


def test_time_without_samples_is_no_proof_of_a_stall() -> None:
    last_look = Progress(sampled_at_s=5.0, moved_at_s=0.0, running=3)
    assert not is_stalled(last_look, [last_look], stall_s=10)


STUCK = Progress(sampled_at_s=20.0, moved_at_s=5.0, running=1)
MOVING = Progress(sampled_at_s=20.0, moved_at_s=19.5, running=4)
IDLE = Progress(sampled_at_s=20.0, moved_at_s=20.0, running=0)


@pytest.mark.parametrize(
    ("group", "stalled"),
    [
        pytest.param([STUCK, STUCK], True, id="all members stand still"),
        pytest.param([STUCK, IDLE], True, id="the others are idle"),
        pytest.param([STUCK, MOVING], False, id="another one moves"),
    ],
)
def test_a_dp_group_is_stalled_as_a_whole_or_not_at_all(group: list[Progress], stalled: bool) -> None:
    assert is_stalled(STUCK, group, stall_s=10) == stalled
    assert not any(is_stalled(member, group, stall_s=10) for member in group if member is not STUCK)
