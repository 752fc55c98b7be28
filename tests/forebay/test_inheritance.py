"""What the children of `forebay up` know of its environment."""

from forebay.inheritance import gateway_keys, inherited
from forebay.settings import UpSettings


def test_what_is_forebays_stays_out_and_all_else_is_passed_on() -> None:
    others = {"PATH": "/bin", "HOME_FOREBAY_X": "x"}
    ours = {"FOREBAY_ENGINES": "2", "FOREBAY_WORKERS": "2", "FOREBAY_API_KEY": "k", "FOREBAY_ADVERTISE": "h:1"}
    assert inherited(others | ours) == others


def test_the_gateways_keys_are_variables_of_theirs() -> None:
    assert gateway_keys(UpSettings(api_key=("a", "b"), admin_key="c")) == {
        "FOREBAY_API_KEY": "a,b",
        "FOREBAY_ADMIN_KEY": "c",
    }
