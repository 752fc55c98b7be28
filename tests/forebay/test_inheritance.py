"""What the children of `forebay up` know of its environment."""

from forebay.inheritance import inherited


def test_what_is_forebays_stays_out_and_all_else_is_passed_on() -> None:
    others = {"PATH": "/bin", "HOME_FOREBAY_X": "x"}
    ours = {"FOREBAY_ENGINES": "2", "FOREBAY_WORKERS": "2", "FOREBAY_API_KEY": "k", "FOREBAY_ADVERTISE": "h:1"}
    assert inherited(others | ours) == others
