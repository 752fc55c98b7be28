"""What of a rank's answers becomes the address that gateways must know before they send it anything."""

import json
from typing import Any

import pytest

from agent.errors import DiscoveryError
from agent.kv_discovery import of_mooncake, of_push
from scheduler.messages import KvAddress, RankState, Role
from tests.agent.running_node import node_of
from tests.agent.samples import settings
from tests.polling import until
from tests.ports import free_port
from tests.simulator.rank_process import running_rank

CAPTURED: dict[str, Any] = {
    "do_remote_prefill": True,
    "do_remote_decode": False,
    "remote_block_ids": [[117, 118, 119]],
    "remote_engine_id": "a89bdb21-9f91-4198-8296-4f23061bab8f",
    "remote_request_id": "cmpl-pdreq-0-0-8d724fd8",
    "remote_host": "127.0.0.1",
    "remote_port": 5601,
    "tp_size": 2,
    "pp_size": 1,
    "remote_num_tokens": 66,
    "transfer_mode": "push",
}
"""As vLLM 0.32.0 answers, but for the mode and the size."""
URL = "http://10.0.0.1:8998"
ENTRIES: dict[str, Any] = {
    "0": {"engine_id": "e-0_dp0", "worker_addr": {"0": {"0": "tcp://10.0.0.1:40001"}}},
    "1": {"engine_id": "e-0_dp1", "worker_addr": {"0": {"0": "a", "1": "b"}, "1": {"0": "c", "1": "d"}}},
}
"""As vLLM 0.32's bootstrap server answers GET /query."""


def answer(**changes: Any) -> bytes:
    return json.dumps({"kv_transfer_params": CAPTURED | changes}).encode()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0.0.0.0", "::1"])
def test_a_host_that_means_the_ranks_own_is_replaced_by_the_ranks(host: str) -> None:
    engine_id = CAPTURED["remote_engine_id"]
    expected = KvAddress(engine_id=engine_id, host="10.0.0.7", port=5601, tp_size=2, pp_size=1)
    assert of_push(answer(remote_host=host), "10.0.0.7") == expected


def test_another_host_stays() -> None:
    assert of_push(answer(remote_host="10.9.9.9"), "10.0.0.7").host == "10.9.9.9"


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"{}", "NixlPushConnector"),
        (b"<html>", "malformed"),
        (answer(transfer_mode="pull"), "--connector nixl"),
        (answer(remote_port=0), "remote_port"),
        (answer(remote_engine_id=""), "remote_engine_id"),
        (answer(tp_size=0), "tp_size"),
    ],
)
def test_what_is_no_address_of_a_push_is_refused_by_its_reason(body: bytes, why: str) -> None:
    with pytest.raises(DiscoveryError, match=why):
        of_push(body, "10.0.0.7")


def test_each_engine_behind_a_bootstrap_server_has_its_own_id() -> None:
    body = json.dumps(ENTRIES).encode()
    assert of_mooncake(body, URL, 0) == KvAddress(engine_id="e-0_dp0", bootstrap_url=URL)
    assert of_mooncake(body, URL, 1) == KvAddress(engine_id="e-0_dp1", bootstrap_url=URL, tp_size=2, pp_size=2)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"{}", "does not know engine 2, but none"),
        (json.dumps(ENTRIES).encode(), "does not know engine 2, but 0, 1"),
        (b"[]", "is not Mooncake's"),
        (b'{"2":{"engine_id":"","worker_addr":{}}}', "is not Mooncake's"),
        (b'{"2":{"engine_id":"e","worker_addr":{}}}', "does not know engine 2"),
    ],
)
def test_a_bootstrap_server_that_does_not_know_the_engine_is_named_with_what_it_knows(body: bytes, why: str) -> None:
    with pytest.raises(DiscoveryError, match=why):
        of_mooncake(body, URL, 2)


def test_ports_of_bootstrap_servers_follow_in_the_order_of_a_hosts_ranks() -> None:
    options = settings(ranks="a:9000-9002,b:9000,a:9100", bootstrap_port=7000)
    ports = {target.name: options.bootstrap_port_of(target) for target in options.targets}
    assert ports == {"a:9000": 7000, "a:9001": 7001, "a:9002": 7002, "b:9000": 7000, "a:9100": 7003}


@pytest.mark.parametrize("connector", ["nixl_push", "mooncake", "sglang"])
async def test_a_prefill_rank_is_offered_with_its_address_and_a_decode_rank_without(connector: str) -> None:
    port = free_port()
    options = ("--role", "prefill", "--kv-connector", connector, "--model", "tiny", "--bootstrap-port", str(port))
    with running_rank(*options) as rank:
        name = f"127.0.0.1:{rank.port}"
        found = []
        for role in (Role.DECODE, Role.PREFILL):
            async with node_of(rank.port, role=role, connector=connector, bootstrap_port=port) as node:
                await node.until_state(name, RankState.UP)
            found.append(node.store.cards[name].kv)
    assert found[0] is None
    kv = found[1]
    assert kv is not None
    assert bool(kv.engine_id) == (connector != "sglang")
    assert bool(kv.host and kv.port) == (connector != "mooncake")
    assert kv.bootstrap_url == (f"http://127.0.0.1:{port}" if connector == "mooncake" else "")


async def test_a_prefill_rank_whose_address_cannot_be_learned_is_not_offered(caplog: pytest.LogCaptureFixture) -> None:
    with running_rank("--role", "prefill", "--model", "tiny") as rank:
        about = {"role": Role.PREFILL, "connector": "mooncake", "bootstrap_port": free_port()}
        async with node_of(rank.port, **about) as node:
            await until(lambda: "is not offered: the bootstrap server" in caplog.text, "the reason is logged")
        assert node.store.told == []
        async with node_of(rank.port, role=Role.PREFILL, connector="nixl_push") as node:
            await until(lambda: "give --connector nixl" in caplog.text, "the reason is logged")
        assert node.store.told == []
