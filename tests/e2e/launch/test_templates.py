"""The launch templates of deploy/launch/, run as the agent runs them, before a vllm that only records its call."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from agent.launch.rank_command import Arguments, rank_commands
from agent.launch.settings import LaunchSettings
from agent.launch.template import read_template
from agent.launch.template_text import argument_set, read_text
from tests.agent.launch.samples import MAIN, V091
from tests.e2e.launch.fake_vllm import CALLS, Call, calls, put_on_path

FOLDER = Path(__file__).parents[3] / "deploy" / "launch"
CUDA, ASCEND = "cuda", "ascend"
ENVIRONMENT = {
    "MODEL": "/models/a model",
    "SERVED_NAME": "m",
    "NODE_ADDRESS": "192.0.2.7",
    "NIC": "eth0",
    "PREFILL_DP": "2",
    "PREFILL_TP": "8",
    "DECODE_DP": "4",
    "DECODE_TP": "2",
}
FIRST_PORT = {"prefill": 9000, "decode": 9100}


def run(folder: Path, hardware: str, role: str, *, dense: bool) -> list[Call]:
    """What vllm is called with by two ranks of a group of four with two devices each."""
    return run_template(folder, FOLDER / f"run_dp_template.{hardware}.{role}.sh", FIRST_PORT[role], dense=dense)


def run_template(folder: Path, path: Path, first_port: int, *, dense: bool = False) -> list[Call]:
    """The same of any template."""
    template = read_template(str(path))
    facts = read_text(template.text)
    settings = LaunchSettings(
        launch=template.path,
        dp_size=4,
        tp_size=2,
        dp_size_local=2,
        dp_rank_start=2,
        vllm_start_port=first_port,
        dense=dense,
    )
    recorded = folder / f"{path.name}-calls"
    recorded.mkdir()
    vllm = put_on_path(folder)
    search = f"{vllm}:{os.environ['PATH']}"
    commands = rank_commands(
        settings,
        Arguments(
            takes=argument_set(facts, "auto", template.path),
            dp_address="192.0.2.1",
            devices=("0", "1", "2", "3"),
            is_alone=dense,
        ),
        program=template.program,
        folder=template.folder,
        environment={**os.environ, **ENVIRONMENT, "PATH": search, CALLS: str(recorded)},
        device_kind="none",
        log_dir=str(folder),
    )
    for command in commands:
        subprocess.run(command.argv, cwd=command.folder, env=command.environment, check=True, timeout=30)
    return calls(recorded)


HARDWARE = pytest.mark.parametrize("hardware", [CUDA, ASCEND])
ROLES = pytest.mark.parametrize("role", ["prefill", "decode"])


def test_the_template_of_launch_online_dp_runs_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "run_dp_template.sh").write_text(MAIN)
    first, second = run_template(tmp_path, tmp_path / "run_dp_template.sh", 9000)
    assert [call.environment["ASCEND_RT_VISIBLE_DEVICES"] for call in (first, second)] == ["0,1", "2,3"]
    assert [call.options["--port"] for call in (first, second)] == ["9000", "9001"]
    assert [call.options["--data-parallel-rank"] for call in (first, second)] == ["2", "3"]
    assert second.options["--data-parallel-rpc-port"] == "12345"
    decode = json.loads(second.options["--kv-transfer-config"])["kv_connector_extra_config"]["decode"]
    assert decode == {"dp_size": 4, "tp_size": 2}


def test_the_template_of_0_9_1_runs_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "run_dp_template.sh").write_text(V091)
    _, second = run_template(tmp_path, tmp_path / "run_dp_template.sh", 9000)
    assert second.options["--port"] == "9001"
    group = {name: value for name, value in second.environment.items() if name.startswith("VLLM_DP_")}
    assert group == {
        "VLLM_DP_SIZE": "4",
        "VLLM_DP_MASTER_IP": "192.0.2.1",
        "VLLM_DP_MASTER_PORT": "12345",
        "VLLM_DP_RANK_LOCAL": "1",
        "VLLM_DP_RANK": "3",
        "VLLM_DP_SIZE_LOCAL": "2",
    }


@HARDWARE
@ROLES
def test_a_member_of_a_dp_group_is_told_its_place_in_it(tmp_path: Path, hardware: str, role: str) -> None:
    first, second = run(tmp_path, hardware, role, dense=False)
    for index, call in enumerate((first, second)):
        options = call.options
        group = {name[len("--data-parallel-") :]: value for name, value in options.items() if "data-parallel" in name}
        assert group == {"size": "4", "rank": str(2 + index), "address": "192.0.2.1", "rpc-port": "12345"}
        assert (options["--port"], options["--tensor-parallel-size"]) == (str(FIRST_PORT[role] + index), "2")
        assert (options["--served-model-name"], options["--host"]) == ("m", "0.0.0.0")
        variable = "CUDA_VISIBLE_DEVICES" if hardware == CUDA else "ASCEND_RT_VISIBLE_DEVICES"
        assert call.environment[variable] == ("0,1", "2,3")[index]


@HARDWARE
def test_a_dense_rank_gets_no_flag_of_a_dp_group(tmp_path: Path, hardware: str) -> None:
    for call in run(tmp_path, hardware, "prefill", dense=True):
        assert not [name for name in call.options if "parallel" in name and name != "--tensor-parallel-size"]


def side_channels(call: Call) -> range:
    """The ports on which vLLM lets its KV be asked for, by its own rule (one on CUDA, one a device on Ascend)."""
    options = call.options
    rank, tp_size = int(options.get("--data-parallel-rank", 0)), int(options["--tensor-parallel-size"])
    if nixl := call.environment.get("VLLM_NIXL_SIDE_CHANNEL_PORT"):
        assert call.environment["VLLM_NIXL_SIDE_CHANNEL_HOST"] == "192.0.2.7"
        return range(int(nixl) + rank, int(nixl) + rank + 1)
    first = int(json.loads(options["--kv-transfer-config"])["kv_port"]) + rank * tp_size
    assert first >= 36_000, "below are the ports that AscendDirect draws"
    return range(first, first + tp_size)


@HARDWARE
@pytest.mark.parametrize("dense", [False, True])
def test_no_two_ranks_of_a_node_share_a_port(tmp_path: Path, hardware: str, dense: bool) -> None:
    launched = [call for role in FIRST_PORT for call in run(tmp_path, hardware, role, dense=dense)]
    ports = [port for call in launched for port in (int(call.options["--port"]), *side_channels(call))]
    assert len(set(ports)) == len(ports) >= 8


@ROLES
def test_ascend_ranks_know_the_sizes_of_both_groups_and_no_engine_id(tmp_path: Path, role: str) -> None:
    (call, _) = run(tmp_path, ASCEND, role, dense=False)
    config = json.loads(call.options["--kv-transfer-config"])
    assert config["kv_connector"] == "MooncakeConnectorV1"
    assert config["kv_role"] == {"prefill": "kv_producer", "decode": "kv_consumer"}[role]
    assert config["kv_connector_extra_config"] == {
        "prefill": {"dp_size": 2, "tp_size": 8},
        "decode": {"dp_size": 4, "tp_size": 2},
    }
    assert "engine_id" not in config
    assert call.environment["HCCL_IF_IP"] == "192.0.2.7"
    assert call.environment["GLOO_SOCKET_IFNAME"] == "eth0"
