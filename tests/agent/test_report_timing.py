import msgspec
import pytest

from agent.node_report import NodeReport
from agent.report_timing import due_at_s, interval_s
from scheduler.messages import RankReport, RankState
from tests.samples import report as rank_report

UP = rank_report("r", incarnation="p1")


def report(*ranks: RankReport) -> NodeReport:
    return NodeReport(ranks, {}, {})


def changed(**changes: object) -> NodeReport:
    return report(msgspec.structs.replace(UP, **changes))


@pytest.mark.parametrize(
    ("wanted_ms", "obeyed_s"),
    [
        pytest.param(400, 0.4, id="what is asked for"),
        pytest.param(0, 0.05, id="no more often than the design allows"),
        pytest.param(-5, 0.05, id="nonsense"),
        pytest.param(3_600_000, 1.0, id="every second all the same"),
    ],
)
def test_the_stores_wish_is_obeyed_within_bounds(wanted_ms: int, obeyed_s: float) -> None:
    assert interval_s(wanted_ms) == obeyed_s


@pytest.mark.parametrize(
    ("latest", "due_after_s"),
    [
        pytest.param(report(UP), 0.4, id="no news"),
        pytest.param(changed(age_ms=70, prefill_tokens_per_s=9.0), 0.4, id="age and rate are no news"),
        pytest.param(changed(running=1), 0.2, id="load"),
        pytest.param(changed(running=1, state=RankState.DOWN), 0.05, id="a rank that went down"),
        pytest.param(changed(incarnation="p2"), 0.05, id="a restart"),
        pytest.param(report(UP, msgspec.structs.replace(UP, rank="s")), 0.05, id="another rank"),
        pytest.param(report(), 0.05, id="a rank less"),
    ],
)
def test_health_is_told_at_once_and_load_when_the_store_wants_it(latest: NodeReport, due_after_s: float) -> None:
    due_s = due_at_s(report(UP), latest, sent_at_s=100.0, heartbeat_s=0.4, wanted_s=0.2)
    assert due_s == pytest.approx(100.0 + due_after_s)


def test_an_interval_longer_than_the_heartbeat_holds_for_both() -> None:
    for latest in (report(UP), changed(running=1)):
        assert due_at_s(report(UP), latest, sent_at_s=0.0, heartbeat_s=0.4, wanted_s=1.0) == 1.0
