"""A launch is refused as a whole, in one line, before anything is started."""

import os
import re
import socket
from pathlib import Path
from typing import Any

import pytest

from agent.errors import LaunchError
from agent.launch.plan import LaunchPlan, make_plan
from agent.launch.template import read_template
from tests.agent.launch.samples import DENSE, MAIN, V091, launching
from tests.ports import bound, free_port, free_row

REDIS = "redis://127.0.0.1:6379"


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "run.sh"
    path.write_text(MAIN)
    return path


def plan(
    script: Path, *, redis: str = REDIS, dp_group: str = "", environment: Any = None, **changes: Any
) -> LaunchPlan:
    options: dict[str, Any] = {"launch": str(script), "log_dir": str(script.parent / "logs"), "device_env": "none"}
    options |= {} if "vllm_start_port" in changes else {"vllm_start_port": free_row(4)}
    options |= {"dp_rpc_port": free_port()}
    return make_plan(launching(**{**options, **changes}), redis, dp_group, environment or {})


def test_a_template_is_run_by_bash_in_its_own_folder_whatever_its_first_line_says(script: Path) -> None:
    script.write_text("#!/bin/sh\n" + MAIN)
    for mode in (0o644, 0o755):
        script.chmod(mode)
        assert plan(script).commands[0].argv[:2] == ("bash", "./run.sh")
    assert plan(script).commands[0].folder == str(script.parent)


def test_an_executable_in_another_language_is_run_by_its_own_interpreter(script: Path) -> None:
    script.write_text(f"#!/usr/bin/env python3\n{MAIN}")
    script.chmod(0o755)
    assert read_template(str(script)).program == ("./run.sh",)


@pytest.mark.parametrize(
    ("first_line", "mode", "said"),
    [
        ("#!/usr/bin/env python3", 0o644, "its first line names python3, and it is not executable (chmod +x)"),
        ("#!/no/such/python3 -u", 0o755, "its first line names /no/such/python3, which is not there"),
        ("#!/usr/bin/env -S no-such-python -u", 0o755, "its first line names no-such-python, which is not there"),
    ],
)
def test_a_template_whose_interpreter_cannot_run_it_is_refused(
    script: Path, first_line: str, mode: int, said: str
) -> None:
    script.write_text(f"{first_line}\n{MAIN}")
    script.chmod(mode)
    with pytest.raises(LaunchError, match=rf"template .*run\.sh: {re.escape(said)}$"):
        read_template(str(script))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "No such file or directory"),
        ("directory", "it is a directory"),
        ("pipe", "it is no file"),
        (MAIN.replace("\n", "\r\n"), "line 1 ends in CRLF, which bash takes for part of the line"),
        (MAIN + "\0", "it is no script"),
        ("#" * (1 << 20) + MAIN, "it is no script"),
        ("", "it does not show which arguments it takes"),
    ],
)
def test_a_template_that_cannot_be_run_is_refused(script: Path, content: str | None, said: str) -> None:
    script.unlink()
    if content == "directory":
        script.mkdir()
    elif content == "pipe":
        os.mkfifo(script)
    elif content is not None:
        script.write_text(content)
    with pytest.raises(LaunchError) as refused:
        plan(script)
    assert str(refused.value).startswith(f"template {script}: {said}")
    assert "\n" not in str(refused.value)


def test_members_of_a_dp_group_are_named_after_where_it_finds_together(script: Path) -> None:
    port = free_port()
    made = plan(script, dp_rpc_port=port)
    assert (made.is_group, made.dp_group) == (True, f"192.0.2.1:{port}")
    assert plan(script, dp_group="experts").dp_group == "experts"
    assert (made.is_whole_group, plan(script, dp_size_local=2).is_whole_group) == (True, False)
    script.write_text(V091)
    assert plan(script).is_group


def test_whole_groups_of_several_nodes_at_a_loopback_address_have_names_of_their_own(script: Path) -> None:
    here: dict[str, Any] = {"dp_address": "127.0.0.1", "dp_rpc_port": free_port()}
    names = {plan(script, rank_host=host, **here).dp_group for host in ("192.0.2.7", "192.0.2.8")}
    assert names == {f"192.0.2.{node}:{here['dp_rpc_port']}" for node in (7, 8)}
    # Agents that have a part of it each are on one machine, and have to find each other.
    assert plan(script, dp_size_local=2, **here).dp_group == f"127.0.0.1:{here['dp_rpc_port']}"


def test_a_dp_group_needs_an_address_and_independent_ranks_do_not(script: Path) -> None:
    with pytest.raises(LaunchError, match=r"--dp-address: template .* starts members of a DP group, who need it"):
        plan(script, dp_address="")
    script.write_text(DENSE)
    made = plan(script, dp_address="")
    assert (made.is_group, made.dp_group) == (False, "")
    assert [command.argv[4:6] for command in made.commands] == [("4", str(index)) for index in range(4)]


def test_a_dense_model_is_not_launched_with_flags_that_vllm_refuses_for_it(script: Path) -> None:
    with pytest.raises(LaunchError, match="it passes --data-parallel-\\*, which vLLM refuses for dense models"):
        plan(script, dense=True)
    script.write_text(MAIN + 'if [ "$3" -gt 1 ]; then :; fi\n')
    made = plan(script, dense=True)
    assert not made.is_group
    assert {command.argv[4:6] for command in made.commands} == {("1", "0")}


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0", "::1"])
def test_a_port_that_somebody_listens_on_is_refused_before_anything_is_started(script: Path, address: str) -> None:
    first = free_row(4)
    with bound(address, first + 2) as taken:
        taken.listen()
        with pytest.raises(LaunchError, match=f"port {first + 2}: Address already in use; nothing was started"):
            plan(script, vllm_start_port=first)
    assert not (script.parent / "logs").exists()


def test_the_port_of_the_dp_group_has_to_be_free_on_the_node_of_rank_0(script: Path) -> None:
    with bound("127.0.0.1", 0) as taken:
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(LaunchError, match=f"port {port}: Address already in use"):
            plan(script, dp_rpc_port=port)
        assert plan(script, dp_rpc_port=port, dp_size_local=2, dp_rank_start=2).commands


def test_too_few_devices_are_refused(script: Path) -> None:
    with pytest.raises(LaunchError, match="--devices: the ranks need 8 devices, and 0-3 is 4"):
        plan(script, tp_size=2, devices="0-3")


def test_a_template_that_sets_its_devices_is_told_them_only_by_its_first_argument(script: Path) -> None:
    assert "CUDA_VISIBLE_DEVICES" not in plan(script, device_env="auto", devices="4-7").commands[0].environment
    made = plan(script, device_env="cuda", devices="4-7").commands[1]
    assert (made.argv[2], made.environment["CUDA_VISIBLE_DEVICES"]) == ("5", "5")


def test_a_folder_for_logs_that_cannot_be_made_is_refused(script: Path) -> None:
    with pytest.raises(LaunchError, match=r"--log-dir .*run\.sh/logs: Not a directory"):
        plan(script, log_dir=f"{script}/logs")


def test_ranks_are_named_by_the_address_on_the_way_to_the_store(script: Path) -> None:
    first = free_row(4)
    assert plan(script, vllm_start_port=first).ranks == f"127.0.0.1:{first}-{first + 3}"
    assert plan(script, vllm_start_port=first, redis="unix:///run/redis.sock").ranks.startswith("127.0.0.1:")
    assert plan(script, vllm_start_port=first, rank_host="node7").ranks == f"node7:{first}-{first + 3}"
    if socket.has_ipv6:
        assert plan(script, vllm_start_port=first, redis="redis://[::1]:6379").ranks == f"[::1]:{first}-{first + 3}"
        assert plan(script, vllm_start_port=first, rank_host="::1").ranks == f"[::1]:{first}-{first + 3}"


@pytest.mark.parametrize("host", ["0.0.0.0", "http://h", "h:9"])
def test_an_address_that_no_gateway_can_use_is_refused(script: Path, host: str) -> None:
    with pytest.raises(LaunchError, match=f"--rank-host {host}: "):
        plan(script, rank_host=host)


def test_templates_are_told_that_address_unless_they_know_another(script: Path) -> None:
    assert plan(script, rank_host="192.0.2.7").commands[0].environment["NODE_ADDRESS"] == "192.0.2.7"
    made = plan(script, environment={"NODE_ADDRESS": "192.0.2.8"})
    assert made.commands[0].environment["NODE_ADDRESS"] == "192.0.2.8"


def test_without_a_way_to_the_store_the_address_has_to_be_given(script: Path) -> None:
    with pytest.raises(LaunchError, match="no way to the store, which would tell this node's address"):
        plan(script, redis="redis://no-such-host.invalid:6379")
    assert plan(script, redis="redis://no-such-host.invalid:6379", rank_host="192.0.2.7").commands
