"""Nodes whose agents start their ranks, as real processes: whole lives of them."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner

from forebay.main import main
from tests.e2e.launch.launching import TEMPLATES, launched
from tests.gateway.gateway_process import ForebayProcess, forebay_process
from tests.gateway.running import COMPLETIONS
from tests.gateway.test_with_the_real_scheduler import knows_the_model
from tests.polling import until_now
from tests.ports import bound, free_row
from tests.servers import needs_redis, redis_server

pytestmark = needs_redis

CUDA = {role: TEMPLATES / f"run_dp_template.cuda.{role}.sh" for role in ("prefill", "decode")}
GROUP = ("--dp-size", "2", "--dp-address", "127.0.0.1", "--vllm-start-port")
DENSE = ("--dense", "--dp-size", "3", "--vllm-start-port")
ONE = ("--dense", "--dp-size", "1", "--vllm-start-port")


@pytest.fixture
def redis_url(tmp_path: Path) -> Iterator[str]:
    folder = tmp_path / "redis"
    folder.mkdir()
    with redis_server(folder) as server:
        yield server.url


def served_by(gateway: ForebayProcess) -> tuple[str, str]:
    """Who served a request: its prefill and its decode rank, the ports alone."""
    body: dict[str, Any] = {"model": "sim", "prompt": "word " * 400, "max_tokens": 4}
    headers = {"x-forebay-explain": "1"}
    answer = httpx.post(f"{gateway.url}{COMPLETIONS}", json=body, headers=headers, trust_env=False, timeout=30)
    assert answer.status_code == 200, answer.text
    return tuple(answer.headers.get(f"x-forebay-{role}", ":").rpartition(":")[2] for role in ("prefill", "decode"))


def served_by_a_pair(gateway: ForebayProcess) -> tuple[int, int]:
    """The same, soon: while nothing new is known of the prefill rank, a decode rank serves whole."""
    by = ("", "")

    def is_by_a_pair() -> bool:
        nonlocal by
        by = served_by(gateway)
        return all(by)

    until_now(is_by_a_pair, "a pair serves")
    return int(by[0]), int(by[1])


def test_a_rank_and_a_dp_group_are_launched_serve_pairs_and_the_group_is_begun_anew_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, redis_url: str
) -> None:
    first = free_row(3)
    ports = {"prefill": (first,), "decode": (first + 1, first + 2)}
    with (
        launched(tmp_path, monkeypatch, redis_url, CUDA["prefill"], "prefill", *ONE, str(first)) as prefill,
        launched(tmp_path, monkeypatch, redis_url, CUDA["decode"], "decode", *GROUP, str(first + 1)) as decode,
        forebay_process(tmp_path, "gateway", "--redis", redis_url, "--policy", "forebay_pairs", "--explain") as gateway,
    ):
        for role, node in (("prefill", prefill), ("decode", decode)):
            line = node.agent.wait_until_ready()
            ranks = "2 decode ranks" if role == "decode" else "1 prefill rank"
            assert f"reports {ranks} to pool sim; logs in {tmp_path}" in line
        gateway.wait_until_ready()
        until_now(lambda: knows_the_model(gateway), "the gateway knows the model")
        by = served_by_a_pair(gateway)
        assert by[0] in ports["prefill"]
        assert by[1] in ports["decode"]
        before = decode.ranks(*ports["decode"])
        untouched = prefill.ranks(*ports["prefill"])
        os.kill(decode.rank_pid(ports["decode"][1]), signal.SIGKILL)

        def all_are_new() -> bool:
            now = decode.ranks(*ports["decode"])
            return len(now) == 2 and not set(now.values()) & set(before.values())

        decode.until(all_are_new, "both decode ranks are begun anew")
        assert "its DP group is begun anew in 1 s" in decode.said
        decode.until_said(" is up ", times=4)
        assert served_by_a_pair(gateway)[1] in ports["decode"]
        assert prefill.ranks(*ports["prefill"]) == untouched
        for node in (prefill, decode):
            node.tell(signal.SIGTERM)
        assert [node.exit_code() for node in (prefill, decode)] == [0, 0]


def test_independent_ranks_are_begun_anew_alone_and_an_agent_that_is_killed_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, redis_url: str
) -> None:
    first = free_row(3)
    with launched(tmp_path, monkeypatch, redis_url, CUDA["prefill"], "mixed", *DENSE, str(first)) as node:
        node.agent.wait_until_ready()
        before = node.ranks(first, first + 1, first + 2)
        for pid in (node.rank_pid(first), node.keeper_pid(first + 1)):
            os.kill(pid, signal.SIGKILL)

        def are_new() -> bool:
            now = node.ranks(first, first + 1)
            return all(now.get(port, before[port]) != before[port] for port in (first, first + 1))

        node.until(are_new, "both ranks are begun anew")
        for rank in (0, 1):
            assert f"rank {rank} (port {first + rank}) was ended by signal 9; it is begun anew in 1 s" in node.said
        assert node.ranks(first + 2) == {first + 2: before[first + 2]}
        assert not {before[first], before[first + 1]} & node.processes().keys()
        node.tell(signal.SIGKILL)
        node.until_nothing_is_left()


def scripted(folder: Path, text: str) -> Path:
    template = folder / "run.sh"
    template.write_text(f"# --port $2\n: serve --port $2\n{text}\n")
    return template


def test_ranks_that_end_at_once_end_the_agent_with_the_last_that_they_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, redis_url: str
) -> None:
    first = free_row(2)
    template = scripted(tmp_path, 'if [ "$4" = 1 ]; then echo "no such model"; exit 7; fi; sleep 600 & wait')
    options = ("--dp-size", "2", "--vllm-start-port", str(first))
    with launched(tmp_path, monkeypatch, redis_url, template, "mixed", *options) as node:
        assert node.exit_code() == 1
        told = [line for line in node.said.splitlines() if line.startswith(("Error: ", "  "))]
        assert told[0].startswith(
            f"Error: rank 1 (port {first + 1}) ended with exit code 7 before all ranks were ready; its log is /"
        )
        assert told[1:] == ["  no such model"]


def test_ranks_that_never_get_ready_end_with_the_agent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, redis_url: str
) -> None:
    first = free_row(1)
    options = ("--dp-size", "1", "--vllm-start-port", str(first), "--ready-timeout-s", "0.5")
    with launched(tmp_path, monkeypatch, redis_url, scripted(tmp_path, "sleep 600"), "mixed", *options) as node:
        assert node.exit_code() == 1
        assert f"127.0.0.1:{first} is not ready after 0.5 s: it is not offered: connection refused" in node.said


def test_a_second_signal_waits_for_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, redis_url: str) -> None:
    first = free_row(1)
    template = scripted(tmp_path, "trap '' TERM; touch deaf; while true; do sleep 600; done")
    with launched(
        tmp_path, monkeypatch, redis_url, template, "mixed", "--dp-size", "1", "--vllm-start-port", str(first)
    ) as node:
        until_now((tmp_path / "deaf").exists, "the rank heeds no SIGTERM")
        node.tell(signal.SIGTERM)
        node.until_said("the ranks leave the pool")
        node.tell(signal.SIGTERM)
        assert node.exit_code() == 0


def test_a_port_in_use_is_refused_in_one_line_and_nothing_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = free_row(2)
    with bound("127.0.0.1", first + 1) as taken:
        taken.listen()
        options = ("--dp-size", "2", "--vllm-start-port", str(first))
        template = scripted(tmp_path, "touch started")
        with launched(tmp_path, monkeypatch, "redis://127.0.0.1:1", template, "mixed", *options) as node:
            assert node.exit_code() == 1
            assert node.said == f"Error: port {first + 1}: Address already in use; nothing was started\n"
    assert not (tmp_path / "started").exists()


def test_what_runs_when_the_agent_is_told_to_end_is_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, redis_url: str
) -> None:
    first = free_row(1)
    body = {"model": "sim", "prompt": "Once", "max_tokens": 90, "ignore_eos": True, "stream": True}
    with launched(tmp_path, monkeypatch, redis_url, CUDA["decode"], "mixed", *ONE, str(first)) as node:
        node.agent.wait_until_ready()
        url = f"http://127.0.0.1:{first}{COMPLETIONS}"
        with httpx.stream("POST", url, json=body, trust_env=False, timeout=30) as answer:
            text = answer.iter_text()
            said = next(text)
            node.tell(signal.SIGTERM)
            said += "".join(text)
        assert said.endswith("data: [DONE]\n\n")
        assert node.exit_code() == 0


def test_a_launched_rank_pushes_to_the_socket_that_its_agent_was_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, redis_url: str
) -> None:
    monkeypatch.chdir(tmp_path)
    options = (*ONE, str(free_row(1)), "--stat-socket", "stats.sock")

    def sources() -> list[str]:
        told = CliRunner().invoke(main, ["status", "--redis", redis_url, "--json"]).stdout
        return [rank["source"] for rank in json.loads(told)["ranks"]]

    with launched(tmp_path, monkeypatch, redis_url, CUDA["decode"], "decode", *options) as node:
        node.agent.wait_until_ready()
        node.until(lambda: sources() == ["push"], "the status shows that it pushes")
        node.tell(signal.SIGTERM)
        assert node.exit_code() == 0
