"""A run in which something went wrong must say so, and its page too."""

import msgspec
import pytest

from tests.chaos.figures import Injected
from tests.chaos.kinds import MENDED_WITHIN_S
from tests.chaos.looks import GatewayKill, Resources
from tests.chaos.outcome import Outcome
from tests.chaos.page import page
from tests.chaos.partitions import Partitions
from tests.chaos.promises import AtRest, broken_by_kills, broken_by_requests, broken_by_the_rest
from tests.chaos.report import Report, StageReport

MIB = 1 << 20
IN_NAMESPACES, BY_PROXY = Partitions("namespaces"), Partitions("proxy", "nobody is root")
FAULT = Injected(number=0, kind="store-kill", target=0, begin_s=10.0, repaired_s=12.0)
GOOD = Outcome(0, "chaos-1-0", True, False, 10, 11.0, 11.0, 11.1, 11.9, "whole")
LONG_AGO = GOOD._replace(sent_s=1.0, first_byte_s=1.1, ended_s=1.9)
FINE = AtRest(
    reservations=0,
    audits=9,
    differences=[],
    starving=[],
    ended=[],
    all_up=True,
    before={"gateway-0": Resources(80 * MIB, 20)},
    after={"gateway-0": Resources(82 * MIB, 21)},
)


def report(*outcomes: Outcome, rest: AtRest = FINE, partitions: Partitions = IN_NAMESPACES) -> Report:
    stage = StageReport(
        name="8 ranks",
        outcomes=list(outcomes),
        faults=[FAULT],
        kills=[],
        rest=rest,
        left_out={"store-clock": "not there"},
        partitions=partitions,
    )
    return Report(command="--seed 1", seed=1, machine={"cores": "2"}, minutes=1.0, stages=[stage])


def changed(**fields: object) -> AtRest:
    return AtRest(**{name: fields.get(name, getattr(FINE, name)) for name in FINE.__struct_fields__})  # type: ignore[arg-type]


def test_a_run_without_a_fault_in_it_breaks_nothing() -> None:
    assert report(GOOD).broken() == []


@pytest.mark.parametrize("judgment", ["lost", "silent", "wrong", "hung"])
def test_each_bad_answer_breaks_a_promise_with_its_id_and_the_fault_it_met(judgment: str) -> None:
    bad = GOOD._replace(judgment=judgment, why="502", number=7, id="chaos-1-7")  # type: ignore[arg-type]
    (broken,) = broken_by_requests([GOOD, bad], [FAULT])
    assert broken == f"1 requests {judgment}: chaos-1-7 (gateway 0, store-kill 0: 502)"


def test_a_stream_may_end_with_an_error_where_a_fault_explains_it() -> None:
    ended = GOOD._replace(judgment="ended", why="502")
    assert broken_by_requests([ended], [FAULT]) == []
    (broken,) = broken_by_requests([LONG_AGO._replace(judgment="ended", why="502")], [FAULT])
    assert "no fault explains" in broken


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("reservations", 1),
        ("reservations", -1),
        ("differences", ["ledger 1, recount 2"]),
        ("starving", [3]),
        ("ended", ["gateway-0"]),
        ("all_up", False),
        ("after", {"gateway-0": Resources(200 * MIB, 20)}),
        ("after", {"gateway-0": Resources(80 * MIB, 60)}),
    ],
)
def test_whatever_is_left_behind_breaks_a_promise(field: str, value: object) -> None:
    assert broken_by_the_rest(FINE) == []
    assert len(broken_by_the_rest(changed(**{field: value}))) == 1


def kill(ledger_s: float, before_ms: float, after_ms: float) -> GatewayKill:
    return GatewayKill(
        gateway=1,
        killed_s=1.0,
        ledger_s=ledger_s,
        before={before_ms / 1000: 300.0, float("inf"): 300.0},
        after={after_ms / 1000: 300.0, float("inf"): 300.0},
    )


def test_a_killed_gateway_must_leave_the_ledger_and_the_others_alone() -> None:
    assert broken_by_kills([kill(2.5, 4.0, 4.0)]) == []
    assert "still in the ledger" in broken_by_kills([kill(3.5, 4.0, 4.0)])[0]
    assert "p99 placement" in broken_by_kills([kill(2.5, 2.0, 8.0)])[0]


def test_only_what_was_under_way_at_a_killed_gateway_counts_as_broken_with_it() -> None:
    before = kill(2.0, 4.0, 4.0)
    moved = GOOD._replace(began_s=0.5, sent_s=1.2, died=(1,))
    refused = GOOD._replace(began_s=1.1, sent_s=1.3, died=(1,))
    elsewhere = GOOD._replace(began_s=0.5, sent_s=0.5, ended_s=1.5)
    stages = [msgspec.structs.replace(report(moved, refused, elsewhere, GOOD).stages[0], kills=[before])]
    assert ("requests that broke with them, of those under way", "1 of 2") in msgspec.structs.replace(
        report(), stages=stages
    ).facts()


def test_a_long_wait_for_a_redis_that_comes_back_breaks_a_promise() -> None:
    slow = GOOD._replace(first_byte_s=13.5, ended_s=14.0)
    assert report(LONG_AGO, GOOD).broken() == []
    assert "store-kill: a request waited 2400 ms" in report(LONG_AGO, slow).broken()[0]


def test_what_is_kept_has_the_figures_and_each_request_that_went_wrong() -> None:
    kept = report(GOOD, GOOD._replace(judgment="silent", id="chaos-1-9")).kept()
    text = msgspec.json.encode(kept).decode()
    assert "chaos-1-9" in text
    assert "chaos-1-0" not in text
    assert '"kind":"store-kill"' in text


def test_the_page_says_what_happened_and_how_to_have_it_again() -> None:
    text = page(
        report(GOOD, GOOD._replace(judgment="silent", why="after 3 events: closed", id="chaos-1-9")), MENDED_WITHIN_S
    )
    for said in ('make chaos ARGS="--seed 1"', "| store-kill | 1 |", "chaos-1-9", "store-clock: not there", "cores 2"):
        assert said in text
    assert "No promise was broken." in page(report(GOOD), MENDED_WITHIN_S)


@pytest.mark.parametrize(
    ("partitions", "said"), [(IN_NAMESPACES, "in network namespaces"), (BY_PROXY, "by a TCP proxy (nobody is root)")]
)
def test_it_is_told_how_partitions_were_made_and_how_many(partitions: Partitions, said: str) -> None:
    made = report(GOOD, partitions=partitions)
    kinds = ("rank-partition", "store-partition-all", "agent-blind", "rank-kill")
    faults = [msgspec.structs.replace(FAULT, kind=kind) for kind in kinds]
    stages = [msgspec.structs.replace(made.stages[0], faults=faults)]
    facts = dict(msgspec.structs.replace(made, stages=stages).facts())
    assert facts[f"partitions {said}"] == "2"
    assert facts["partitions by a TCP proxy (agent-blind)"] == "1"
    text = page(made, MENDED_WITHIN_S)
    assert ("veth pair" in text, "nobody is root" in text) == (partitions is IN_NAMESPACES, partitions is BY_PROXY)
