"""What is made of what was seen: whose fault it was, what is usual, what is counted."""

from tests.chaos.figures import QUIET, Injected, added_up, by_kind, cause_of, short, usual
from tests.chaos.outcome import Outcome
from tests.chaos.placement_times import buckets, gained, quantile_ms, retries, total

PAGE = """# TYPE forebay_gateway_place_seconds histogram
forebay_gateway_place_seconds_bucket{le="0.001"} 50.0
forebay_gateway_place_seconds_bucket{le="0.002"} 99.0
forebay_gateway_place_seconds_bucket{le="0.064"} 100.0
forebay_gateway_place_seconds_bucket{le="+Inf"} 100.0
forebay_gateway_retries_total{pool="sim",reason="rank_failed"} 3.0
forebay_gateway_retries_total{pool="sim",reason="stalled"} 2.0
"""


def outcome(number: int = 0, sent_s: float = 0.0, first_s: float | None = 0.1, **more: object) -> Outcome:
    found = Outcome(number, f"chaos-1-{number}", True, False, 10, sent_s, sent_s, None, sent_s + 1.0, "whole")
    return found._replace(first_byte_s=None if first_s is None else sent_s + first_s, **more)  # type: ignore[arg-type]


def fault(number: int, begin_s: float, repaired_s: float, kind: str = "rank-kill") -> Injected:
    return Injected(number=number, kind=kind, target=0, begin_s=begin_s, repaired_s=repaired_s)


def test_a_fault_that_was_there_when_a_request_was_sent_is_its_cause() -> None:
    faults = [fault(0, 0.0, 9.0), fault(1, 10.0, 12.0), fault(2, 11.5, 13.0)]
    assert cause_of(outcome(sent_s=10.5), faults) is faults[1]
    assert cause_of(outcome(sent_s=11.7), faults) is faults[2]


def test_else_the_first_one_that_came_before_it_was_over() -> None:
    faults = [fault(0, 10.0, 12.0), fault(1, 10.5, 12.0)]
    assert cause_of(outcome(sent_s=9.8), faults) is faults[0]


def test_else_the_last_one_whose_traces_are_there() -> None:
    faults = [fault(0, 1.0, 8.0), fault(1, 2.0, 9.0)]
    assert cause_of(outcome(sent_s=9.5), faults) is faults[1]
    assert cause_of(outcome(sent_s=20.0), faults) is None


def test_each_request_is_counted_once_and_those_without_a_fault_last() -> None:
    outcomes = [outcome(0, 10.2), outcome(1, 10.4, judgment="lost", why="502"), outcome(2, 30.0), outcome(3, 0.0)]
    rows = by_kind(outcomes, [fault(0, 10.0, 12.0)])
    assert [(row.kind, row.injected, row.requests, row.whole) for row in rows] == [
        ("rank-kill", 1, 2, 1),
        (QUIET, 0, 2, 2),
    ]
    assert rows[0].failed == {"lost: 502": 1}


def test_time_is_added_beyond_what_is_usual_for_streams_and_others() -> None:
    norm = usual([outcome(number, first_s=0.1, ended_s=0.6) for number in range(5)])
    assert abs((norm.beyond_s(outcome(first_s=0.4)) or 0) - 0.3) < 1e-9
    assert abs((norm.beyond_s(outcome(first_s=0.7, stream=False)) or 0) - 0.1) < 1e-9
    assert norm.beyond_s(outcome(first_s=None)) is None
    assert norm.beyond_s(outcome(first_s=9.0, judgment="left")) is None


def test_rows_of_stages_add_up_by_kind() -> None:
    one = by_kind([outcome(0, 10.2, first_s=0.5), outcome(1, 30.0)], [fault(0, 10.0, 12.0)])
    other = by_kind([outcome(0, 10.2, first_s=0.9), outcome(1, 30.0)], [fault(0, 10.0, 12.0)])
    rows = added_up([one, other])
    assert [(row.kind, row.injected, row.requests) for row in rows] == [("rank-kill", 2, 2), (QUIET, 0, 2)]
    assert rows[0].added_ms == 800


def test_reasons_that_differ_in_numbers_are_one() -> None:
    why = '504 {"error":{"message":"The rank did not answer within 6 s","type":"Gateway Timeout","code":504}}'
    assert short(why) == "504 The rank did not answer within 6 s"
    assert short("after 17 events: rank 127.0.0.1:9001 closed") == short("after 17 events: rank 127.0.0.1:9002 closed")


def test_placements_between_two_looks_give_a_quantile() -> None:
    found = buckets(PAGE)
    assert quantile_ms(found, 0.5) == 1.0
    assert quantile_ms(found, 0.99) == 2.0
    more = {bound: count * 2 for bound, count in found.items()}
    assert gained(found, more) == found
    assert total([found, found]) == more
    assert quantile_ms({}, 0.99) is None


def test_retries_of_all_reasons_add_up() -> None:
    assert retries(PAGE) == 5
    assert retries("") == 0
