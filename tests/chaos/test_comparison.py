"""What several routers' runs come to on one page."""

from tests.chaos.comparison import HEADINGS, Lost, Plan, Trial, page, totals
from tests.chaos.figures import QUIET, Row

PLAN = Plan(seed=1, rounds=5, rate=15.0, every_s=3.5)
FAILED = {
    "lost: 500 Request failed: error sending request for url (http://127.0.0.1:9001/v1/completions)": 2,
    "lost: 500 Request failed: error sending request for url (http://127.0.0.1:9002/v1/completions)": 1,
    "silent: after 13 events: closed": 4,
    "silent: 90 bytes of its body, then reset": 5,
    "silent: no [DONE] after 3 events": 6,
    "silent: after 7 events: complete": 7,
    "wrong: 90 characters are missing": 10,
    "wrong: 2 tokens are missing": 20,
    "wrong: token 3 is missing": 8,
    "hung: no answer": 9,
}


def row(kind: str, **more: object) -> Row:
    usual = {"injected": 5, "requests": 100, "whole": 90, "left": 3, "retried": 0, "moved": 0}
    return Row(**usual | {"kind": kind, "ended": {}, "failed": {}, "added_ms": 7} | more)  # type: ignore[arg-type]


def trial(router: str, *rows: Row, lacks: str = "") -> Trial:
    return Trial(
        router=router,
        version="1.2",
        turned_on=(f"--of-{router}",),
        lacks=lacks,
        plan=PLAN,
        minutes=3.1,
        machine={"cpu": "some", "cores": "2"},
        rows=list(rows),
        faults=[],
        outcomes=[],
    )


def test_each_way_to_lose_a_request_is_counted_apart() -> None:
    assert Lost.of([row("rank-kill", failed=FAILED)]) == Lost(lost=3, broken_off=9, as_if_whole=43, wrong=8, hung=9)


def test_a_cell_says_only_what_was_lost() -> None:
    assert str(Lost()) == "0"
    assert str(Lost(lost=2, hung=1)) == "2 lost, 1 hung"


def test_a_routers_line_adds_its_kinds_up() -> None:
    found = totals(
        trial("a", row("rank-kill", failed=FAILED, ended={"502": 2}), row(QUIET, requests=1_000, added_ms=1_234))
    )
    assert dict(zip(HEADINGS, found, strict=True)) == {
        "router": "a 1.2",
        "requests": "1,100",
        "whole": "180",
        "hung up": "6",
        "ended by an error": "2",
        "lost": "3",
        "broken off": "9",
        "ended as if whole": "43",
        "wrong": "8",
        "hung": "9",
        "longest added time, ms": "1,234",
    }


def test_a_router_that_told_no_time_has_none() -> None:
    assert totals(trial("a", row("rank-kill", added_ms=None)))[-1] == "-"


def test_the_page_has_each_routers_losses_by_kind_reasons_and_options() -> None:
    lines = page(
        [
            trial("a", row("rank-cut", failed=FAILED), row(QUIET, injected=0)),
            trial("b", row("rank-cut"), row(QUIET, injected=0), lacks="checks of health"),
        ],
        ranks=8,
        patience_s=40.0,
    ).splitlines()
    assert "| fault | a | b |" in lines
    assert "| rank-cut | 3 lost, 9 broken off, 43 ended as if whole, 8 wrong, 9 hung | 0 |" in lines
    assert "| no fault | 0 | 0 |" in lines
    assert "- 3 `lost: 500 Request failed: error sending request for url`" in lines
    assert "- 4 `silent: after events: closed`" in lines
    assert "--of-b" in lines
    assert "It could not be asked for: checks of health." in lines
    assert "Machine: cpu some, cores 2." in lines
