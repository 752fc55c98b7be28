"""What the children of `forebay up` know of its environment."""

from forebay.inheritance import inherited


def test_the_keys_and_the_policy_reach_the_gateways_and_so_does_what_is_not_forebays() -> None:
    environment = {
        "PATH": "/bin",
        "FOREBAY_API_KEY": "k",
        "FOREBAY_ADMIN_KEY": "a",
        "FOREBAY_POLICY": "random",
        "HOME_FOREBAY_X": "x",
    }
    assert inherited(environment) == environment


def test_what_is_meant_for_other_commands_stays_out() -> None:
    others = {"FOREBAY_ENGINES": "2", "FOREBAY_WORKERS": "2", "FOREBAY_MIXED": "3", "FOREBAY_ADVERTISE": "h:1"}
    assert inherited(others) == {}
