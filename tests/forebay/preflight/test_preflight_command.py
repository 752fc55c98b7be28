"""`forebay preflight` on real simulated ranks and a real Redis."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.e2e.up_process import forebay
from tests.ports import free_port
from tests.servers import needs_redis, redis_server
from tests.simulator.rank_process import running_rank

HCCN_TOOL = """#!/bin/sh
case "$*" in
*"-i 1 -link"*) echo "link status: DOWN" ;;
*-link*) echo "link status: UP" ;;
*-lldp*) echo "Ifname: 400GE1" ;;
*-net_health*) echo "net health status: Success" ;;
*-netdetect*) echo "netdetect address: 10.0.0.1" ;;
*-gateway*) echo "default gateway: 10.0.0.1" ;;
esac
"""


class Ranks(NamedTuple):
    """Two prefill ranks and two decode ranks, of which the last one has other blocks."""

    prefill: list[str]
    decode: list[str]


@pytest.fixture(scope="module")
def ranks() -> Iterator[Ranks]:
    with ExitStack() as stack:

        def name(*options: str) -> str:
            return f"127.0.0.1:{stack.enter_context(running_rank(*options)).port}"

        prefill = [name("--role", "prefill") for _ in range(2)]
        odd = ("--block-size-tokens", "32", "--kv-blocks", "16384")
        yield Ranks(prefill, [name("--role", "decode"), name("--role", "decode", *odd)])


def preflight(*options: str, **variables: str) -> tuple[int, dict[str, Any]]:
    """Without what is wrong with the vLLM servers of other tests, or of others on this machine."""
    code, found = preflight_with_servers(*options, **variables)
    found["findings"] = [each for each in found["findings"] if not each["where"].startswith("vLLM ")]
    return code, found


def preflight_with_servers(*options: str, **variables: str) -> tuple[int, dict[str, Any]]:
    done = forebay("preflight", "--json", *options, **variables)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def test_the_matrix_has_a_red_cell_for_each_pair_that_cannot_be_with_the_flag_to_change(ranks: Ranks) -> None:
    code, found = preflight("--prefill-ranks", ",".join(ranks.prefill), "--decode-ranks", ",".join(ranks.decode))
    assert code == 1
    cells = {(cell["prefill"], cell["decode"]): cell["findings"] for cell in found["matrix"]}
    assert cells.keys() == {(prefill, decode) for prefill in ranks.prefill for decode in ranks.decode}
    for prefill in ranks.prefill:
        assert cells[prefill, ranks.decode[0]] == []
        (red,) = cells[prefill, ranks.decode[1]]
        assert (red["level"], red["change"]) == ("bad", "--block-size")


def test_a_fleet_that_is_well_is_exit_code_0_and_a_table(ranks: Ranks) -> None:
    done = forebay("preflight", "--prefill-ranks", ",".join(ranks.prefill), "--decode-ranks", ranks.decode[0])
    assert all(rank in done.stdout for rank in (*ranks.prefill, ranks.decode[0]))
    bad = [line for line in done.stdout.splitlines() if "BAD" in line]
    assert done.returncode == (1 if bad else 0), done.stdout + done.stderr
    # Other tests may run vLLM servers whose ports overlap.
    assert [line for line in bad if "vLLM" not in line] == []


@pytest.mark.parametrize("options", [(), ("--connector", "mooncake_layerwise")])
def test_a_prefill_rank_that_would_die_of_the_question_is_not_asked_for_kv(options: tuple[str, ...]) -> None:
    with running_rank("--role", "prefill", "--kv-connector", "mooncake_layerwise", "--strict") as rank:
        _, found = preflight("--prefill-ranks", f"127.0.0.1:{rank.port}", *options)
        assert rank.state()["served"] == 0
    unseen = [finding["what"] for finding in found["findings"] if finding["where"].endswith(f":{rank.port}")]
    assert [what.startswith("is asked for no KV") for what in unseen].count(True) == (0 if options else 1)
    assert [finding for finding in found["findings"] if finding["level"] == "bad"] == []


def test_servers_of_this_node_that_take_the_same_ports_are_told_by_their_config_files(tmp_path: Path) -> None:
    port = free_port()
    (tmp_path / "vllm").write_text("import time\nprint(flush=True)\ntime.sleep(60)")
    (tmp_path / "c.yaml").write_text(f"model: m\nport: {port}\n")
    command = [sys.executable, "vllm", "serve", "--config", "c.yaml"]
    with ExitStack() as stack:
        servers = [
            stack.enter_context(subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE)) for _ in range(2)
        ]
        for server in servers:
            stack.callback(server.kill)
            assert server.stdout
            server.stdout.readline()
        code, found = preflight_with_servers()
    mine = ", ".join(sorted(f"vLLM {server.pid} API" for server in servers))
    told = {", ".join(sorted(each["where"].split(", "))): each["what"] for each in found["findings"]}
    assert (code, told[mine]) == (1, f"both use port {port}")


def test_a_rank_that_is_away_and_a_port_in_use_are_bad() -> None:
    away = f"127.0.0.1:{free_port()}"
    with socket.create_server(("0.0.0.0", 0)) as taken:
        port = str(taken.getsockname()[1])
        code, found = preflight("--decode-ranks", away, "--ports", port)
    bad = {finding["where"]: finding["what"] for finding in found["findings"] if finding["level"] == "bad"}
    assert code == 1
    assert bad == {f"port {port}": "is in use", away: "does not answer: connection refused"}


@needs_redis
def test_the_store_is_looked_at_and_its_policy_named(tmp_path: Path) -> None:
    with redis_server(tmp_path, "--maxmemory-policy", "allkeys-lru") as redis:
        code, found = preflight("--redis", redis.url)
        by_name = {finding["where"]: finding for finding in found["findings"]}
    assert code == 1
    assert "median of 20" in by_name["Redis"]["what"]
    assert by_name["Redis version"]["level"] == "ok"
    assert (by_name["Redis policy"]["level"], by_name["Redis policy"]["change"]) == (
        "bad",
        "CONFIG SET maxmemory-policy volatile-ttl",
    )


def test_a_store_that_is_away_and_proxy_variables_are_told() -> None:
    url = f"redis://127.0.0.1:{free_port()}"
    code, found = preflight("--redis", url, http_proxy="http://proxy:3128")
    by_name = {finding["where"]: finding["level"] for finding in found["findings"]}
    assert (code, by_name["Redis"], by_name["proxy variables"]) == (1, "bad", "not checked")


def test_npu_links_are_asked_of_the_tool_on_the_path(tmp_path: Path) -> None:
    tool = tmp_path / "hccn_tool"
    tool.write_text(HCCN_TOOL)
    tool.chmod(0o755)
    code, found = preflight("--npus", "2", PATH=f"{tmp_path}:/usr/bin:/bin")
    bad = [finding["where"] for finding in found["findings"] if finding["level"] == "bad"]
    assert (code, bad) == (1, ["NPU 1 link"])
