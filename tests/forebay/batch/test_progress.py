"""How far a batch is, where nobody watches a bar."""

import io

import pytest
from rich.console import Console

from forebay.batch import progress as shown
from forebay.batch.progress import progress


def test_without_a_terminal_there_is_a_line_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    with progress(Console(file=out), total=10, done=4) as advance:
        advance(False)
        monkeypatch.setattr(shown, "LINE_EVERY_S", 0.0)
        advance(True)
    (line,) = out.getvalue().splitlines()
    assert line.startswith("6 of 10 done, 1 failed, ")


def test_a_terminal_has_a_bar_that_counts_failures() -> None:
    out = io.StringIO()
    with progress(Console(file=out, force_terminal=True, width=120), total=3, done=1) as advance:
        advance(False)
        advance(True)
    assert "3/3" in out.getvalue()
    assert "1 failed" in out.getvalue()
