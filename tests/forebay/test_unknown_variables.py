"""Which environment variables the commands accept, refuse and ignore."""

import logging
import os

import pytest
from click.testing import CliRunner, Result

from forebay.main import main


def run(*arguments: str, **variables: str) -> Result:
    ours = {name: None for name in os.environ if name.startswith("FOREBAY_")}
    return CliRunner().invoke(main, arguments, env={**ours, **variables})


def test_a_variable_that_is_no_option_is_named_with_what_was_meant() -> None:
    result = run("rank", "--port", "x", FOREBAY_SPEDE="50")
    assert result.exit_code == 2
    assert "FOREBAY_SPEDE is no option's. Did you mean FOREBAY_SPEED?" in result.output


@pytest.mark.parametrize("name", ["FOREBAY_MIXED", "FOREBAY_PORT", "PORT", "HOME_FOREBAY_X"])
def test_a_variable_of_another_command_or_another_program_passes(name: str) -> None:
    result = run("rank", "--role", "no-such-role", **{name: "1"})
    assert result.exit_code == 2
    assert "no-such-role" in result.output
    assert name not in result.output


SERVICE = {
    "_SERVICE_HOST": "10.0.0.1",
    "_SERVICE_PORT": "8000",
    "_SERVICE_PORT_HTTP": "8000",
    "_PORT": "tcp://10.0.0.1:8000",
    "_PORT_8000_TCP": "tcp://10.0.0.1:8000",
    "_PORT_8000_TCP_PROTO": "tcp",
    "_PORT_8000_TCP_PORT": "8000",
    "_PORT_8000_TCP_ADDR": "10.0.0.1",
}


@pytest.mark.parametrize("service", ["FOREBAY", "FOREBAY_GATEWAY", "FOREBAY_MIXED"])
def test_the_variables_of_a_kubernetes_service_are_ignored_and_named_in_the_log(
    service: str, caplog: pytest.LogCaptureFixture
) -> None:
    links = {f"{service}{rest}": value for rest, value in SERVICE.items()}
    with caplog.at_level(logging.INFO):
        result = run("rank", "--role", "no-such-role", **links)
    assert result.exit_code == 2
    assert "no-such-role" in result.output
    (line,) = [record.getMessage() for record in caplog.records if "Kubernetes" in record.getMessage()]
    assert all(name in line for name in links)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("FOREBAY_GATEWAY_PORT", "8000"),
        ("FOREBAY_GATEWAY_PORT", "http://10.0.0.1:8000"),
        ("FOREBAY_SERVICE_PORT", "eight"),
        ("FOREBAY_SERVICE_HOST", ""),
        ("FOREBAY_PORT_8000", "tcp://10.0.0.1:8000"),
        ("FOREBAY_MODLE", "tcp://10.0.0.1:8000"),
    ],
)
def test_what_only_looks_like_a_kubernetes_service_is_refused(name: str, value: str) -> None:
    result = run("rank", "--role", "no-such-role", **{name: value})
    assert result.exit_code == 2
    assert f"{name} is no option's" in result.output


def test_our_own_port_is_still_read_and_checked() -> None:
    assert "'FOREBAY_PORT'" in run("rank", FOREBAY_PORT="tcp://10.0.0.1").output
    assert "'FOREBAY_PORT'" in run("rank", FOREBAY_PORT="70000").output
