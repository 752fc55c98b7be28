from typing import Any

import msgspec
import pytest

from agent.discovery import rank_card
from agent.evidence import Broken, EngineDead, Evidence, Refused, Silent, Unanswered
from agent.health import PortHealth, judge, verdict
from agent.incarnation import Incarnation
from agent.progress import Progress
from agent.rank_state import RankTrack, first_track
from agent.targets import Target
from scheduler.messages import RankState
from tests.agent.samples import ABOUT, answered, engine, settings

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
        health = judge(health, one, stall_s=10.0)
    assert health.down_because == down_because


def unanswered(from_s: float, until_s: float) -> Unanswered:
    return Unanswered("TimeoutError", from_s, until_s)


@pytest.mark.parametrize(
    ("evidence", "is_stalled"),
    [
        pytest.param([unanswered(0, 5), unanswered(5, 9.9)], False, id="not for long enough yet"),
        pytest.param([unanswered(0, 5), unanswered(5.5, 10)], True, id="two looks in a row"),
        pytest.param([unanswered(0, 5), unanswered(5.5, 10), SILENT], True, id="and then silence"),
        pytest.param([unanswered(0, 5), SILENT, unanswered(9, 12)], False, id="silence between is no evidence"),
        pytest.param([unanswered(0, 5), ANSWERED, unanswered(9, 12)], False, id="an answer between"),
        pytest.param([unanswered(0, 5), BROKEN, unanswered(9, 12)], False, id="a broken answer is an answer"),
        pytest.param([unanswered(0, 10), ANSWERED], False, id="it answers again"),
        pytest.param([unanswered(0, 10), BROKEN], True, id="a broken answer is no sign of life"),
        pytest.param([SILENT] * 99, False, id="silence alone"),
    ],
)
def test_a_port_that_takes_connections_and_never_answers_stalls(evidence: list[Evidence], is_stalled: bool) -> None:
    health = PortHealth()
    for one in evidence:
        health = judge(health, one, stall_s=10.0)
    assert (health.stalled_because == "connections are taken and not answered (TimeoutError)") is is_stalled
    assert not health.down_because


STUCK = Progress(sampled_at_s=20.0, moved_at_s=5.0, running=1)
MOVING = Progress(sampled_at_s=20.0, moved_at_s=19.5, running=4)
IDLE = Progress(sampled_at_s=20.0, moved_at_s=20.0, running=0)
UP, STALLED, DOWN, GONE = RankState


def a_track(**changes: Any) -> RankTrack:
    """A rank that was introduced in its current life, with one request running."""
    track = first_track("r", engine(running=1, **changes.pop("sample", {})), 1000.0, 20.0, 8000.0)
    card = rank_card("r", Target("h", 1), track.sample, track.incarnation.text, ABOUT, settings())
    return msgspec.structs.replace(track, **{"card": card, **changes})


def said_of(track: RankTrack, *, port_down_because: str = "") -> tuple[RankState, str]:
    said = verdict(PortHealth(port_down_because), track, stall_ms=10_000)
    return said.state, said.because


@pytest.mark.parametrize(
    ("track", "state", "because"),
    [
        pytest.param(a_track(), UP, "", id="nothing against it"),
        pytest.param(a_track(progress=STUCK), STALLED, "no progress for 10000 ms with 1 requests running", id="stuck"),
        pytest.param(a_track(sample={"awake": False}, progress=STUCK), DOWN, "asleep", id="asleep before stuck"),
        pytest.param(
            a_track(sample={"awake": False}, incarnation=Incarnation("p2")), DOWN, "restarted", id="restarted first"
        ),
    ],
)
def test_the_first_reason_against_a_rank_is_said(track: RankTrack, state: RankState, because: str) -> None:
    assert said_of(track) == (state, because)
    assert said_of(track, port_down_because="connection refused") == (DOWN, "connection refused")
    hung = verdict(PortHealth(stalled_because="no answer"), track, stall_ms=10_000)
    assert hung.state is (DOWN if state is DOWN else STALLED)
    left = msgspec.structs.replace(track, present=False)
    assert said_of(left, port_down_because="connection refused") == (GONE, "its engine left the page")


@pytest.mark.parametrize("progress", [MOVING, IDLE])
def test_a_rank_that_moves_or_owes_nothing_is_up(progress: Progress) -> None:
    assert said_of(a_track(progress=progress)) == (UP, "")
