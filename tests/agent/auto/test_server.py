"""vLLM servers, read from their command lines."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from agent.auto.arguments import Arguments
from agent.auto.attachments import FORGOTTEN_AFTER_S, Found, attachments, still_watched
from agent.auto.processes import server_words
from agent.auto.run import settings_of
from agent.auto.server import FoundServer, Mode, read_server
from agent.errors import FoundServerError
from agent.launch.settings import LaunchSettings
from agent.settings import AgentSettings
from agent.targets import Target
from scheduler.messages import Role

NIXL = '--kv-transfer-config \'{"kv_connector": "NixlConnector", "kv_role": "kv_both"}\''


def server(
    line: str, environment: Mapping[str, str] | None = None, config: Mapping[str, object] | None = None
) -> FoundServer:
    words = server_words(["/usr/bin/python3.12", "/opt/venv/bin/vllm", "serve", *shlex.split(line)])
    assert words is not None
    return read_server(7, Arguments(words).over(config or {}), environment or {})


def found(*lines: str, role: Role | None = None) -> Found:
    """Of servers whose processes are numbered from 7 on."""
    servers = [msgspec.structs.replace(server(line), pid=pid) for pid, line in enumerate(lines, 7)]
    return attachments(servers, rank_host="10.0.0.7", role=role)


@pytest.mark.parametrize(
    "command",
    [
        ["vllm", "serve", "m", "--port", "1"],
        ["/usr/bin/python3", "-u", "/venv/bin/vllm", "serve", "m", "--port", "1"],
        ["python", "-m", "vllm.entrypoints.openai.api_server", "m", "--port", "1"],
        ["python3.12", "-m", "vllm.entrypoints.cli.main", "serve", "m", "--port", "1"],
    ],
)
def test_a_server_is_known_by_its_command(command: list[str]) -> None:
    assert server_words(command) == ("m", "--port", "1")


@pytest.mark.parametrize(
    "command",
    [
        [""],
        ["VLLM::EngineCore_DP0"],
        ["vllm", "bench", "serve"],
        ["ssh", "node7", "vllm", "serve", "m"],
        ["bash", "run_dp_template.sh", "0", "9000"],
        ["vi", "/venv/bin/vllm", "serve"],
        ["python", "-m", "forebay", "agent", "--auto"],
    ],
)
def test_nothing_else_is_taken_for_one(command: list[str]) -> None:
    assert server_words(command) is None


def test_a_plain_server_is_one_mixed_rank_at_port_8000() -> None:
    assert server("Qwen/Qwen3-8B") == FoundServer(
        pid=7,
        model="Qwen/Qwen3-8B",
        mode=Mode.ALONE,
        host="",
        ports=(8000,),
        tls=False,
        api_key="",
        role=Role.MIXED,
        connector="",
        dp_group="",
        max_num_seqs=0,
    )


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("m --served-model-name q other --port=9001", {"model": "q", "ports": (9001,)}),
        ("--model m --host 10.0.0.9", {"model": "m", "host": "10.0.0.9"}),
        ("m --host 0.0.0.0", {"host": ""}),
        ("m --host ::", {"host": ""}),
        ("m --max_num_seqs 28 --api-key abc", {"max_num_seqs": 28, "api_key": "abc"}),
        ("m --ssl-certfile c --ssl-keyfile k", {"tls": True}),
        ("m -dp 4", {"mode": Mode.INTERNAL, "ports": (8000,), "dp_group": ""}),
        ("m -dp 4 -dpa 10.0.0.1", {"mode": Mode.INTERNAL, "dp_group": "10.0.0.1:29550"}),
        (
            (
                "m --data-parallel-size 16 --data-parallel-rank 3 --data-parallel-address 10.0.0.1 "
                "--data-parallel-rpc-port 13395 --port 9003"
            ),
            {"mode": Mode.EXTERNAL, "ports": (9003,), "dp_group": "10.0.0.1:13395"},
        ),
        ("m -dp 16 -dpl 8 -dpr 8 -dpa h", {"mode": Mode.HYBRID, "dp_group": "h:29550"}),
        ("m -dp 16 -dpl 8 -dph", {"mode": Mode.HYBRID}),
        ("m -dp 2 -dpa 127.0.0.1", {"mode": Mode.INTERNAL, "dp_group": ""}),
        ("m -dp 2 -dpn 1", {"mode": Mode.EXTERNAL, "dp_group": ":29550"}),
        ("m -dp 2 -dpn 1 -dpa localhost -dpp 7", {"mode": Mode.EXTERNAL, "dp_group": ":7"}),
        ("m -dp 16 -dpl 4 -dpm --port 9000", {"mode": Mode.SUPERVISED, "ports": (9000, 9001, 9002, 9003)}),
        ("m -dp 16 -dpl 8 --headless", {"mode": Mode.HEADLESS, "ports": ()}),
        ("m --no-enable-prefix-caching --seed -1 --port 7", {"ports": (7,), "model": "m"}),
    ],
)
def test_what_a_command_line_says_is_read(line: str, expected: dict[str, Any]) -> None:
    read = server(line)
    assert {name: getattr(read, name) for name in expected} == expected


@pytest.mark.parametrize(
    ("config", "connector", "role"),
    [
        ('{"kv_connector": "NixlConnector", "kv_role": "kv_producer"}', "nixl", Role.PREFILL),
        ('{"kv_connector": "NixlConnector", "kv_role": "kv_both"}', "nixl", None),
        ('{"kv_connector": "NixlPushConnector", "kv_role": "kv_consumer"}', "nixl_push", Role.DECODE),
        ('{"kv_connector": "MooncakeConnectorV1", "kv_role": "kv_consumer"}', "mooncake_pull", Role.DECODE),
        ('{"kv_connector": "LMCacheConnectorV1", "kv_role": "kv_both"}', "store", None),
        (
            (
                '{"kv_connector": "MultiConnector", "kv_role": "kv_producer", "kv_connector_extra_config": '
                '{"connectors": [{"kv_connector": "OffloadingConnector"}, {"kv_connector": "NixlConnector"}]}}'
            ),
            "nixl",
            Role.PREFILL,
        ),
    ],
)
def test_connector_and_role_are_those_of_the_kv_transfer_config(config: str, connector: str, role: Role | None) -> None:
    read = server(f"m --kv-transfer-config '{config}'")
    assert (read.connector, read.role) == (connector, role)


def test_keys_of_the_kv_transfer_config_may_be_given_one_by_one() -> None:
    read = server("m --kv-transfer-config.kv_connector=NixlConnector --kv-transfer-config.kv_role kv_consumer")
    assert (read.connector, read.role) == ("nixl", Role.DECODE)


def test_the_command_line_goes_before_the_config_file() -> None:
    read = server("--port 9001", config={"model": "m", "port": 8001, "headless": False, "data-parallel-size": 2})
    assert (read.model, read.ports, read.mode) == ("m", (9001,), Mode.INTERNAL)


def test_templates_of_vllm_ascend_0_9_1_tell_the_group_by_the_environment() -> None:
    environment = {
        "VLLM_DP_SIZE": "64",
        "VLLM_DP_RANK": "17",
        "VLLM_DP_MASTER_IP": "192.0.0.5",
        "VLLM_DP_MASTER_PORT": "13395",
    }
    read = server("m --port 9001", environment)
    assert (read.mode, read.dp_group) == (Mode.EXTERNAL, "192.0.0.5:13395")


@pytest.mark.parametrize("size", ["²", "9" * 5000, "-1", "x"])
def test_a_group_in_the_environment_that_has_no_size_is_none(size: str) -> None:
    assert server("m", {"VLLM_DP_SIZE": size}).mode is server("m").mode


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("--port 1", "names no model"),
        ("m --uds /run/vllm.sock", "Unix socket"),
        ("m --grpc", "gRPC"),
        ("m --port x", "--port x is no whole number"),
        ("m --kv-transfer-config '{'", "--kv-transfer-config is no JSON object"),
        ('m --kv-transfer-config \'{"kv_connector": "Odd"}\'', "its KV connector Odd is none"),
    ],
)
def test_a_server_that_cannot_be_attached_to_says_why(line: str, told: str) -> None:
    with pytest.raises(FoundServerError, match=told):
        server(line)


def test_ranks_of_one_kind_are_one_group_and_others_have_groups_of_their_own() -> None:
    producer = '--kv-transfer-config \'{"kv_connector": "NixlConnector", "kv_role": "kv_producer"}\''
    groups = found(f"m --port 9001 {producer}", f"m --port 9000 {producer}", "m --port 9002").ports
    assert [(group.role, group.connector, [target.name for target in ports]) for group, ports in groups.items()] == [
        (Role.PREFILL, "nixl", ["10.0.0.7:9000", "10.0.0.7:9001"]),
        (Role.MIXED, "", ["10.0.0.7:9002"]),
    ]


@pytest.mark.parametrize(
    ("address", "name"), [("", "10.0.0.7:29550"), ("-dpa ::1", "10.0.0.7:29550"), ("-dpa h", "h:29550")]
)
def test_a_dp_group_that_finds_together_at_a_loopback_address_is_the_nodes_own(address: str, name: str) -> None:
    (group,) = found(f"m -dp 2 -dpn 0 {address} --port 9000", f"m -dp 2 -dpn 1 {address} --port 9001").ports
    assert group.dp_group == name


def test_a_server_is_reached_where_it_listens() -> None:
    ((at_home,),) = found("m --host 10.9.9.9 --ssl-certfile c").ports.values()
    assert at_home == Target("10.9.9.9", 8000, tls=True)


def test_a_role_that_is_not_told_has_to_be_given() -> None:
    assert "give --role" in found(f"m {NIXL}").left_out[7]
    ((group, _),) = found(f"m {NIXL}", role=Role.DECODE).ports.items()
    assert (group.role, group.connector) == (Role.DECODE, "nixl")


def test_a_headless_node_has_nothing_to_attach_to_and_nothing_to_complain_of() -> None:
    assert found("m -dp 16 -dpl 8 --headless") == Found({}, {})


def test_a_host_that_no_gateway_reaches_is_left_out() -> None:
    assert "has a host of digits that is no IPv4 address" in found("m --host 127.1").left_out[7]


def test_of_two_servers_with_one_port_the_first_is_attached_to_and_the_other_named() -> None:
    both = found("m -dpm -dp 2 -dpl 2 --port 9000", "m --port 9001", "m --port 9001 --max-num-seqs 8")
    assert [[target.port for target in ports] for ports in both.ports.values()] == [[9000, 9001]]
    assert both.left_out == dict.fromkeys((8, 9), "vLLM server 7 has 10.0.0.7:9001 already")


def test_a_group_s_agent_has_the_options_of_the_one_that_found_it() -> None:
    given = AgentSettings(redis="redis://h", auto=True, warmup=2, launching=LaunchSettings(rank_host="10.0.0.7"))
    ((group, targets),) = found("m --port 9001 --max-num-seqs 8").ports.items()
    settings = settings_of(group, targets, given, "node-9001")
    assert (settings.ranks, settings.model, settings.role) == ("10.0.0.7:9001", "m", Role.MIXED)
    assert (settings.warmup, settings.max_num_seqs, settings.node_name) == (2, 8, "node-9001")


def test_a_server_that_ended_is_watched_for_a_while() -> None:
    target = Target("h", 1)
    known, forgotten = still_watched({}, [target], 0.0)
    assert (known, forgotten) == ({target: 0.0}, set())
    known, forgotten = still_watched(known, [], FORGOTTEN_AFTER_S)
    assert (known, forgotten) == ({target: 0.0}, set())
    assert still_watched(known, [], FORGOTTEN_AFTER_S + 1) == ({}, {target})
    assert still_watched(known, [target], FORGOTTEN_AFTER_S + 1) == ({target: FORGOTTEN_AFTER_S + 1}, set())


def test_a_server_that_came_back_as_another_kind_is_forgotten_at_once() -> None:
    target = Target("h", 1)
    assert still_watched({target: 0.0}, [], 1.0, elsewhere={target}) == ({}, {target})
