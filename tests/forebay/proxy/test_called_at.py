"""Where decode ranks of the layerwise connector are told to call a proxy."""

import pytest

from forebay.proxy import called_at as module
from forebay.proxy.called_at import called_at
from tests.forebay.proxy.reading import Reading

LAYERWISE = "load_balance_proxy_layerwise_server_example.py --prefiller-hosts 127.0.0.1 --prefiller-ports 1"
LOCAL = f"{LAYERWISE} --decoder-hosts 127.0.0.1 --decoder-ports 2"
ELSEWHERE = f"{LAYERWISE} --decoder-hosts 127.0.0.1 nowhere.invalid 192.0.2.7 --decoder-ports 2 2 2"


@pytest.mark.parametrize(
    ("words", "address"),
    [
        pytest.param(f"{LOCAL} --host 0.0.0.0 --port 1999", "127.0.0.1:1999", id="all-addresses"),
        pytest.param(f"{LOCAL} --host 0.0.0.0 --advertise node1:80", "node1:80", id="told"),
        pytest.param(f"{LOCAL} --host 127.0.0.1", "", id="where-it-listens"),
        pytest.param(f"{LOCAL} --host 0.0.0.0 --port 0", "", id="port-not-known-yet"),
        pytest.param(f"{LOCAL} --host 0.0.0.0 --connector pull", "", id="nobody-calls"),
        pytest.param("--dp-hosts 127.0.0.1 --dp-ports 1 --host 0.0.0.0", "", id="no-pairs"),
    ],
)
async def test_decode_ranks_call(words: str, address: str) -> None:
    assert await called_at(Reading(words.split()).settings) == address


@pytest.mark.parametrize(
    ("host", "own", "address"),
    [("0.0.0.0", "192.0.2.1", "192.0.2.1:8000"), ("[::]", "2001:db8::1", "[2001:db8::1]:8000")],
)
async def test_of_a_machine_with_several_addresses_ranks_elsewhere_get_one_that_they_reach(
    host: str, own: str, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    routes = {"127.0.0.1": "127.0.0.1", "192.0.2.7": own}

    def towards(host: str, _: int) -> str:
        if host not in routes:
            raise OSError("no such host")
        return routes[host]

    monkeypatch.setattr(module, "own_address_towards", towards)
    assert await called_at(Reading([*ELSEWHERE.split(), "--host", host]).settings) == address


async def test_an_address_that_ranks_elsewhere_cannot_reach_is_warned_of_at_the_start(
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert await called_at(Reading(LOCAL.split()).settings) == ""
    assert caplog.messages == []
    assert await called_at(Reading(ELSEWHERE.split()).settings) == ""
    (warning,) = caplog.messages
    assert warning.startswith("--host localhost: decode rank nowhere.invalid:2 is to call this proxy there")
