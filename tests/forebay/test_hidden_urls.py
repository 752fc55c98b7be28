"""A URL in a wrong place is not repeated, whatever its password looks like."""

import pytest

from forebay.hidden_urls import without_urls

PASSWORDS = [
    "hunter2",
    "hun ter2",
    "hun'ter2",
    'hun"ter2',
    "hun'ter\"2",
    "hun)ter2",
    "hun'//redis://ter2",
    "hun': ter2",
]


@pytest.mark.parametrize("password", PASSWORDS)
def test_nothing_behind_the_scheme_is_repeated(password: str) -> None:
    url = f"redis://:{password}@h:1/0"
    for said in (f"{url!r}: expected `int`", f"'{url}' is not HOST:PORT", f"unexpected argument ({url})", f"x {url} y"):
        shown = without_urls(said)
        assert "redis://***" in shown
        assert not any(part in shown for part in ("hun", "ter2", "@h"))


def test_the_reason_behind_a_quoted_url_is_kept() -> None:
    said = "Invalid value for '--port' (env var: 'FOREBAY_PORT'): 'http://127.0.0.1:9100': expected `int`"
    assert without_urls(said) == said.replace("127.0.0.1:9100", "***")


def test_what_has_no_url_is_left_alone() -> None:
    assert without_urls("Missing option '--redis'") == "Missing option '--redis'"
