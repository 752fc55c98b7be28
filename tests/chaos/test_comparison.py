"""What several routers' runs come to on one page."""

from collections.abc import Sequence

from tests.chaos.comparison import HEADINGS, Lost, Plan, Trial, page, totals
from tests.chaos.figures import QUIET, Injected, Row
from tests.chaos.judging import Judgment
from tests.chaos.outcome import Outcome
from tests.chaos.test_figures import fault, outcome

WHYS: dict[tuple[Judgment, str], int] = {
    ("lost", "500 Request failed: error sending request for url (http://127.0.0.1:9001/v1/completions)"): 2,
    ("lost", "500 Request failed: error sending request for url (http://127.0.0.1:9002/v1/completions)"): 1,
    ("silent", "after 13 events: closed"): 4,
    ("silent", "90 bytes of its body, then reset"): 5,
    ("silent", "no [DONE] after 3 events"): 6,
    ("silent", "after 7 events: complete"): 7,
    ("wrong", "90 characters are missing"): 10,
    ("wrong", "2 tokens are missing"): 20,
    ("wrong", "token 3 is missing"): 8,
    ("hung", "no answer"): 9,
}
BAD = [outcome(judgment=judgment, why=why) for (judgment, why), count in WHYS.items() for _ in range(count)]
ROWS = (
    Row(
        kind="rank-cut",
        injected=5,
        requests=100,
        whole=90,
        left=3,
        retried=0,
        moved=0,
        ended={"502": 2},
        failed={},
        added_ms=7,
    ),
    Row(
        kind=QUIET,
        injected=0,
        requests=1_000,
        whole=70,
        left=4,
        retried=0,
        moved=0,
        ended={},
        failed={},
        added_ms=1_234,
    ),
)


def trial(
    router: str,
    *outcomes: Outcome,
    faults: Sequence[Injected] = (),
    rows: Sequence[Row] = ROWS,
    lacks: str = "",
    seed: int = 1,
) -> Trial:
    return Trial(
        router=router,
        version="1.2",
        turned_on=(f"--of-{router}",),
        lacks=lacks,
        plan=Plan(seed=seed, rounds=5, rate=15.0, every_s=3.5),
        minutes=3.1,
        machine={"cpu": "some", "cores": "2"},
        rows=list(rows),
        faults=list(faults),
        outcomes=list(outcomes),
    )


def lines(*trials: Trial) -> list[str]:
    return page(trials, ranks=8, patience_s=40.0).splitlines()


def test_each_way_to_lose_a_request_is_counted_apart() -> None:
    assert Lost.of(BAD) == Lost(lost=3, broken_off=9, as_if_whole=43, wrong=8, hung=9)


def test_a_cell_says_only_what_was_lost() -> None:
    assert str(Lost()) == "0"
    assert str(Lost(lost=2, hung=1)) == "2 lost, 1 hung"


def test_a_runs_line_adds_its_kinds_up() -> None:
    assert dict(zip(HEADINGS, totals(trial("a", *BAD)), strict=True)) == {
        "router": "a 1.2",
        "seed": "1",
        "requests": "1,100",
        "whole": "160",
        "hung up": "7",
        "ended by an error": "2",
        "lost": "3",
        "broken off": "9",
        "ended as if whole": "43",
        "wrong": "8",
        "hung": "9",
        "longest added time, ms": "1,234",
    }


def test_a_run_in_which_no_byte_came_has_no_longest_time() -> None:
    assert totals(trial("a", rows=()))[-1] == "-"


def test_a_loss_is_put_down_to_what_came_before_its_end_and_not_to_what_it_was_sent_into() -> None:
    faults = [fault(0, 10.0, 12.0, "rank-latency"), fault(1, 13.0, 15.0, "rank-kill"), fault(2, 30.0, 31.0, "rank-cut")]
    sent_into_latency = outcome(sent_s=11.0, ended_s=13.0, judgment="silent", why="after 9 events: closed")
    after_the_kill = outcome(sent_s=16.0, ended_s=16.5, judgment="lost", why="connection closed")
    long_after = outcome(sent_s=20.0, ended_s=21.0, judgment="hung", why="no answer")
    found = lines(trial("a", sent_into_latency, after_the_kill, long_after, faults=faults), trial("b"))
    assert "| fault | a | b |" in found
    assert "| rank-latency | 0 | 0 |" in found
    assert "| rank-kill | 1 lost, 1 broken off | 0 |" in found
    assert "| rank-cut | 0 | 0 |" in found
    assert "| no fault | 1 hung | 0 |" in found


def test_what_clients_were_told_is_counted_without_what_differs_from_request_to_request() -> None:
    found = lines(trial("a", *BAD))
    assert "- 2 `ended: 502`" in found
    assert "- 3 `lost: 500 Request failed: error sending request for url`" in found
    assert "- 4 `broken off: after events: closed`" in found
    assert "- 10 `ended as if whole: characters are missing`" in found


def test_the_page_says_how_each_router_was_started_and_what_it_does_not_know() -> None:
    found = lines(trial("a"), trial("b", lacks="checks of health"))
    assert "--of-a" in found
    assert "--of-b" in found
    assert found.count("It could not be asked for: checks of health.") == 1
    assert "Machine: cpu some, cores 2." in found


def test_runs_of_a_router_with_several_seeds_are_lines_apart_and_one_column() -> None:
    faults = [fault(0, 0.0, 1.0)]
    lost = outcome(judgment="lost", why="connection closed")
    text = "\n".join(lines(trial("a", lost, faults=faults), trial("a", lost, lost, faults=faults, seed=2), trial("b")))
    assert "| a 1.2 | 1 | 1,100 | 160 | 7 | 2 | 1 |" in text
    assert "| a 1.2 | 2 | 1,100 | 160 | 7 | 2 | 2 |" in text
    assert "| rank-kill | 3 lost | 0 |" in text
    assert "--seed 1 --seed 2 --rounds 5" in text
    assert text.count("--of-a") == 1
