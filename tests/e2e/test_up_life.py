"""How `forebay up` starts, ends, and fails; none of it leaves a process behind."""

import os
import signal
import socket
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner

from forebay import given_redis
from forebay.main import main
from forebay.ports import obstacles
from tests.e2e.up_process import SMALL, Up, all_gone, command_line, forebay, up_running
from tests.polling import until_now
from tests.ports import free_port, free_row
from tests.servers import RedisServer, needs_redis, redis_server

PASSWORD = "hunter2-hunter2"


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Up]:
    with up_running(tmp_path, *SMALL) as up:
        yield up


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_0_and_leaves_no_child(small: Up, number: signal.Signals) -> None:
    children = small.children()
    assert len(children) >= 3
    small.process.send_signal(number)
    assert small.process.wait(30) == 0
    all_gone(children)
    assert "Error" not in small.complained


def test_sigkill_leaves_no_child(small: Up) -> None:
    children = small.children()
    small.process.kill()
    small.process.wait()
    all_gone(children)


def test_a_child_that_dies_is_named_and_ends_it_with_1(small: Up) -> None:
    children = small.children()
    (rank,) = [child for child in children if " rank " in command_line(child)]
    os.kill(rank, signal.SIGKILL)
    assert small.process.wait(30) == 1
    assert "Error: mixed-0 was ended by SIGKILL" in small.complained
    all_gone(children)


def test_a_taken_port_is_named_before_anything_starts() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        done = forebay("up", "--port", str(port), "--gateways", "1")
    assert done.returncode == 1
    said = f'Error: gateway port {port}: Address already in use; choose others with --port (make run ARGS="--port '
    assert done.stderr.startswith(said)
    advised = int(done.stderr.removeprefix(said).removesuffix('")\n'))
    assert advised > port
    assert obstacles([advised]) == {}


def test_a_bad_option_is_named_and_ends_with_2() -> None:
    done = forebay("up", "--gateways", "0")
    assert done.returncode == 2
    assert "'--gateways' (env var: 'FOREBAY_GATEWAYS')" in done.stderr


def test_it_runs_without_redis_server_on_the_path_and_says_so(tmp_path: Path) -> None:
    with up_running(tmp_path, *SMALL, variables={"PATH": str(tmp_path)}) as up:
        assert "embedded fakeredis: no redis-server on the PATH" in up.said
        (gateway,) = up.gateways
        assert up.rank_of_a_chat(gateway) == up.status()["ranks"][0]["rank"]
        until_now(lambda: up.status()["reservations"] == 0, "no reservation is left")
        children = up.children()
        assert up.end() == 0
    all_gone(children)


def test_ranks_of_all_roles_serve_side_by_side(tmp_path: Path) -> None:
    with up_running(tmp_path, "--prefill", "1", "--decode", "1", "--mixed", "1", "--gateways", "1") as up:
        roles: dict[str, str] = {rank["rank"]: rank["role"] for rank in up.status()["ranks"]}
        assert sorted(roles.values()) == ["decode", "mixed", "prefill"]

        def answers(role: str) -> bool:
            return roles[up.rank_of_a_chat(up.gateways[0])] == role

        for role in ("mixed", "decode"):
            others = [rank for rank, its_role in roles.items() if its_role in {"mixed", "decode"} and its_role != role]
            for rank in others:
                assert forebay("drain", rank, "--redis", up.redis_url).returncode == 0
            until_now(partial(answers, role), f"a {role} rank answers")
            for rank in others:
                assert forebay("undrain", rank, "--redis", up.redis_url).returncode == 0


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    with redis_server(tmp_path, "--requirepass", PASSWORD, password=PASSWORD) as server:
        yield server


def test_a_given_redis_that_does_not_answer_is_named_before_anything_else_starts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(given_redis, "PATIENCE_S", 0.2)
    port = free_port()
    url = f"redis://:{PASSWORD}@127.0.0.1:{port}/0"
    done = CliRunner().invoke(main, ["up", "--port", str(free_row(2))], env={"FOREBAY_REDIS": url})
    assert done.exit_code == 1
    where = f"Redis at redis://***@127.0.0.1:{port}/0 (FOREBAY_REDIS)"
    assert done.stderr == f"Error: {where} does not answer; without FOREBAY_REDIS one is started\n"


@needs_redis
def test_a_given_redis_that_refuses_us_is_named_with_the_reason_once(redis: RedisServer) -> None:
    done = forebay("up", "--port", str(free_row(2)), "--redis", redis.url)
    assert done.returncode == 1
    reason = "Redis wants a password: redis://:PASSWORD@host"
    assert done.stderr == f"Error: Redis at {redis.url} (--redis): {reason}\n"


@needs_redis
def test_the_password_of_a_given_redis_is_shown_nowhere(tmp_path: Path, redis: RedisServer) -> None:
    with up_running(tmp_path, *SMALL, variables={"FOREBAY_REDIS": f"redis://:{PASSWORD}@{redis.address}"}) as up:
        assert up.redis_url == f"redis://***@{redis.address}"
        assert "(given by FOREBAY_REDIS)" in up.said
        assert up.rank_of_a_chat(up.gateways[0])
        assert PASSWORD not in up.said + up.complained
        assert not [child for child in up.children() if PASSWORD in command_line(child)]


def becomes(up: Up, *, degraded: bool) -> None:
    """Waits for every gateway to say so, and has a chat through it at each look: none may fail on the way."""

    def says_so(gateway: str) -> bool:
        assert up.rank_of_a_chat(gateway)
        answer = httpx.get(f"{gateway}/readyz", trust_env=False)
        assert answer.status_code == 200, answer.text
        return bool(answer.json()["degraded"] is degraded)

    for gateway in up.gateways:
        until_now(partial(says_so, gateway), f"{gateway} says that degraded is {degraded}")


@needs_redis
def test_no_request_is_lost_while_redis_is_gone_and_when_it_returns_empty(tmp_path: Path) -> None:
    with (
        redis_server(tmp_path) as redis,
        up_running(tmp_path, "--prefill", "1", "--decode", "1", "--redis", redis.url) as up,
    ):
        becomes(up, degraded=False)
        redis.stop()
        becomes(up, degraded=True)
        redis.start()
        becomes(up, degraded=False)
        until_now(lambda: len(up.status()["ranks"]) == 2, "both ranks are reported again")
        until_now(lambda: up.status()["reservations"] == 0, "no reservation is left")
        assert up.end() == 0
