"""How Forebay can be called again from a shell, by how it was called."""

import pytest

from forebay.invocation import program


@pytest.mark.parametrize(
    ("interpreter_words", "words", "again"),
    [
        (
            [".venv/bin/python", "-m", "forebay", "up"],
            ["/clone/forebay/__main__.py", "up"],
            ".venv/bin/python -m forebay",
        ),
        (["/v/bin/python3", ".venv/bin/forebay", "up"], [".venv/bin/forebay", "up"], ".venv/bin/forebay"),
        (["/v/bin/python3", "/my venv/forebay"], ["/my venv/forebay"], "'/my venv/forebay'"),
    ],
    ids=["module", "script", "a-space"],
)
def test_what_stood_before_the_arguments_calls_it_again(
    interpreter_words: list[str], words: list[str], again: str
) -> None:
    assert program(interpreter_words, words) == again
