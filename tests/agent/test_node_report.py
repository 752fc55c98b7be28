"""A node's report, from evidence to what is published: PortState, RankTrack and NodeReport together."""

from agent.discovery import rank_card
from agent.evidence import Broken, Evidence, Refused, Silent
from agent.node_report import NodeReport, node_report
from agent.port_state import PortState, fold, introduce
from agent.settings import AgentSettings
from agent.targets import Target
from scheduler.messages import RankReport, RankState
from tests.agent.samples import ABOUT, answered, engine, settings

PORT = PortState(target=Target("10.0.0.7", 9000))


def seen(port: PortState, *evidence: Evidence) -> PortState:
    for one in evidence:
        port = fold(port, one, settings(), fresh_suffix="aa")
    return port


def introduced(port: PortState, options: AgentSettings | None = None) -> PortState:
    options = options or settings()
    return introduce(
        port,
        [
            rank_card(track.rank, port.target, track.sample, track.incarnation.text, ABOUT, options)
            for track in port.strangers
        ],
    )


def said(*ports: PortState, now_s: float = 0.0, options: AgentSettings | None = None) -> NodeReport:
    return node_report(ports, options or settings(), now_s)


def only(port: PortState, now_s: float = 0.0) -> RankReport:
    (report,) = said(port, now_s=now_s).reports
    return report


def test_a_rank_that_never_answered_is_not_reported() -> None:
    assert said(seen(PORT, Silent("t"), Refused(), Broken("b"))).reports == ()


def test_a_rank_without_a_card_is_not_reported() -> None:
    assert said(seen(PORT, answered())).reports == ()


def test_a_report_says_what_the_last_sample_said_and_how_old_it_is() -> None:
    port = introduced(seen(PORT, answered(engine(running=8, waiting=12, kv_usage=0.5), at_s=100.0)))
    report = only(port, now_s=100.25)
    assert (report.rank, report.incarnation, report.state) == ("10.0.0.7:9000", "p1000000-e1000500000", "up")
    assert (report.running, report.waiting, report.kv_used_tokens, report.age_ms) == (8, 12, 32768, 250)
    assert report.prefill_tokens_per_s == 8000.0


def test_silence_ages_a_rank_and_leaves_it_up() -> None:
    port = seen(introduced(seen(PORT, answered(at_s=100.0))), Silent("t"), Silent("t"))
    assert (only(port, now_s=130.0).state, only(port, now_s=130.0).age_ms) == (RankState.UP, 30_000)


def test_a_refused_connection_takes_all_engines_of_the_port_down() -> None:
    port = introduced(seen(PORT, answered(engine(), engine(engine="1"))))
    assert [report.state for report in said(port).reports] == ["up", "up"]
    report = said(seen(port, Refused()))
    assert [one.state for one in report.reports] == ["down", "down"]
    assert report.because == dict.fromkeys(("10.0.0.7:9000#0", "10.0.0.7:9000#1"), "connection refused")


def test_a_restarted_rank_is_down_under_its_old_name_until_it_is_introduced_again() -> None:
    old = introduced(seen(PORT, answered(engine(steps=9.0, running=3), at_s=1.0)))
    new = seen(old, answered(engine(created_s=2000.0), at_s=2.0, process_start_s=1999.0))
    assert (only(new).incarnation, only(new).state) == (only(old).incarnation, RankState.DOWN)
    again = introduced(new)
    assert (only(again).incarnation, only(again).state) == ("p1999000-e2000000000", RankState.UP)


def test_a_rank_without_a_stamp_has_restarted_once_its_port_refused() -> None:
    used = answered(engine(steps=9.0, created_s=None), at_s=1.0, process_start_s=None)
    more = answered(engine(steps=99.0, created_s=None), at_s=60.0, process_start_s=None)
    port = introduced(seen(PORT, used))
    assert only(seen(port, Silent("t"), Broken("b"), Broken("b"), more)).state is RankState.UP
    away = seen(port, Silent("t"), Refused(), Silent("t"), Broken("b"))
    assert only(away).incarnation == "unstamped"
    back = seen(away, more)
    assert (only(back).incarnation, only(back).state) == ("unstamped", RankState.DOWN)
    assert said(back).because == {"10.0.0.7:9000": "restarted"}
    again = introduced(back)
    assert (only(again).incarnation, only(again).state) == ("unstamped+aa", RankState.UP)
    assert only(seen(again, more)).incarnation == "unstamped+aa"


def test_a_restart_forgets_the_learned_rate() -> None:
    port = seen(PORT, answered(engine(running=1)))
    for number in range(1, 9):
        sample = engine(
            running=1, prefill_tokens=4000.0 * number, prefill_s=number, prefill_requests=number, steps=number
        )
        port = introduced(seen(port, answered(sample, at_s=number)))
    assert only(port).prefill_tokens_per_s == 4000
    assert only(introduced(seen(port, answered(engine(), at_s=9.0)))).prefill_tokens_per_s == 8000


def test_a_card_of_a_life_that_is_over_is_dropped() -> None:
    first = seen(PORT, answered(engine(steps=5.0)))
    card = rank_card("10.0.0.7:9000", PORT.target, engine(), first.ranks[0].incarnation.text, ABOUT, settings())
    restarted = seen(first, answered(engine(), process_start_s=5000.0))
    assert said(introduce(restarted, [card])).reports == ()


def test_a_rank_that_stands_still_is_stalled_and_up_again_once_it_moves() -> None:
    stuck = engine(running=2, steps=7.0)
    port = introduced(seen(PORT, answered(stuck, at_s=0.0), answered(stuck, at_s=9.9)))
    assert only(port).state is RankState.UP
    port = seen(port, answered(stuck, at_s=10.0))
    assert only(port).state is RankState.STALLED
    assert said(port).because["10.0.0.7:9000"] == "no progress for 10000 ms with 2 requests running"
    assert only(seen(port, answered(engine(running=2, steps=8.0), at_s=10.5))).state is RankState.UP


def test_each_member_says_what_it_sees_and_leaves_the_group_to_its_readers() -> None:
    options = settings(dp_group="g")
    stuck = engine(running=2, steps=7.0)
    ports = []
    for number, last in enumerate((stuck, engine(running=1, steps=8.0))):
        port = PortState(target=Target("10.0.0.7", 9000 + number))
        port = introduced(seen(port, answered(stuck, at_s=0.0), answered(last, at_s=20.0)), options)
        ports.append(port)
    assert [report.state for report in said(*ports, options=options).reports] == ["stalled", "up"]


def test_a_sleeping_engine_is_down() -> None:
    port = introduced(seen(PORT, answered(engine(awake=False))))
    assert said(port).because == {"10.0.0.7:9000": "asleep"}


def test_an_engine_that_left_the_page_is_gone() -> None:
    port = seen(introduced(seen(PORT, answered(engine(), engine(engine="1")))), answered(engine()))
    states = {report.rank: report.state for report in said(introduced(port)).reports}
    assert states == {"10.0.0.7:9000": "up", "10.0.0.7:9000#0": "gone", "10.0.0.7:9000#1": "gone"}


def test_age_and_rate_alone_are_no_news() -> None:
    port = introduced(seen(PORT, answered(at_s=0.0)))
    assert said(port, now_s=1.0).facts == said(seen(port, answered(at_s=3.0)), now_s=9.0).facts
    assert said(port).facts != said(seen(port, answered(engine(running=1), at_s=3.0))).facts
