"""`forebay proxy` from its start to its end, with what operators ask of it meanwhile."""

import json
import os
import shlex
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest
from click.testing import CliRunner

from forebay.local_redis import redis_server_path
from forebay.main import main
from tests.agent.fakes import healthy_answers, scripted_rank
from tests.e2e.proxy.proxy_process import Proxy, command_of, many_ranks, proxy_running, running
from tests.e2e.up_process import FOREBAY, all_gone, is_alive
from tests.polling import until, until_now
from tests.ports import bound, free_port, free_ports
from tests.servers import needs_redis, redis_server
from tests.simulator.rank_process import running_rank

ADMIN = {"authorization": "Bearer root-key"}


class Ranks(NamedTuple):
    """`host:port` of simulated ranks."""

    prefill: list[str]
    decode: list[str]

    @property
    def words(self) -> list[str]:
        """A proxy of the prefill ranks and of all decode ranks but the last."""
        return [
            *("--prefiller-hosts", *("127.0.0.1" for _ in self.prefill), "--prefiller-ports", *map(port, self.prefill)),
            *("--decoder-hosts", *("127.0.0.1" for _ in self.decode[1:])),
            *("--decoder-ports", *map(port, self.decode[:-1])),
        ]


def port(rank: str) -> str:
    return rank.rpartition(":")[2]


@pytest.fixture(scope="module")
def ranks() -> Iterator[Ranks]:
    first, *rest = [f"127.0.0.1:{port}" for port in free_ports(4)]
    with ExitStack() as stack:
        stack.enter_context(many_ranks("prefill", 50, [first]))
        stack.enter_context(many_ranks("decode", 50, rest))
        yield Ranks([first], rest)


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory, ranks: Ranks) -> Iterator[Proxy]:
    """One for several tests; each leaves it with two decode ranks."""
    words = ["load_balance_proxy_server_example.py", "--log-level", "INFO", *ranks.words]
    with proxy_running(tmp_path_factory.mktemp("proxy"), free_port(), *words) as proxy:
        yield proxy


def curl(proxy: Proxy, text: str) -> httpx.Response:
    """Does what a curl command of the proxies' tutorial says, at this proxy."""
    words = iter(shlex.split(text.replace("\\\n", ""))[1:])
    method, headers, body, url = "GET", {}, "", ""
    for word in words:
        match word:
            case "-X":
                method = next(words)
            case "-H":
                name, _, value = next(words).partition(": ")
                headers[name] = value
            case "-d":
                body = next(words)
            case _:
                url = word
    path = url.partition("9000")[2]
    return proxy.http.request(method, path, headers=headers, content=body)


def test_the_tutorials_requests_are_answered(proxy: Proxy, ranks: Ranks) -> None:
    complete = curl(
        proxy,
        """curl -X POST http://localhost:9000/v1/completions \\
  -H "Content-Type: application/json" \\
  -d '{
        "model": "sim",
        "prompt": "The quick brown fox jumps over the lazy dog",
        "max_tokens": 16
      }'""",
    )
    assert complete.json()["usage"]["completion_tokens"] == 16
    health = {"status": "ok", "prefill_instances": 1, "decode_instances": 2, "request_num": 0}
    until_now(lambda: curl(proxy, "curl http://localhost:9000/healthcheck").json() == health, "nothing is under way")
    added = curl(
        proxy,
        """curl -X POST http://localhost:9000/instances/add \\
  -H "Content-Type: application/json" \\
  -d '{
        "type": "decode",
        "instances": ["127.0.0.1:8103"]
      }'""".replace("8103", port(ranks.decode[-1])),
    )
    assert added.json()["message"] == f"Instances {ranks.decode[-1:]} are waiting to be added."
    until_now(lambda: proxy.health()["decode_instances"] == 3, "it is taken in")
    removed = curl(
        proxy,
        """curl -X POST http://localhost:9000/instances/remove \\
  -H "Content-Type: application/json" \\
  -d '{
        "type": "decode",
        "instances": "127.0.0.1:8201"
      }'""".replace("8201", port(ranks.decode[0])),
    )
    assert removed.json()["current_decode_instances"] == ranks.decode[1:]
    gone = f"decode instance {ranks.decode[0]} is removed"
    until_now(lambda: gone in proxy.complained, "it is gone")
    assert curl(proxy, "curl -X POST http://localhost:9000/reset_prefix_cache").status_code == 200
    assert curl(proxy, "curl http://localhost:9000/v1/models").json()["data"][0]["id"] == "sim"
    # From elsewhere it would take a key.
    body = {"type": "decode", "instances": "127.0.0.1:1"}
    refused = proxy.http.post("/instances/add", json=body, headers={"x-forwarded-for": "192.0.2.1"})
    assert refused.status_code == 401
    assert refused.json()["error"]["message"] == "Without --admin-key this is for programs on the gateway's own machine"
    assert proxy.http.post("/instances/add", json={"type": "x", "instances": "h:1"}).status_code == 400


def test_a_removed_rank_ends_what_it_has_and_may_come_back(proxy: Proxy) -> None:
    # Long enough for all that is looked at meanwhile on a busy machine.
    body = {"model": "sim", "prompt": "Once", "max_tokens": 4000, "stream": True, "ignore_eos": True}
    headers = {"x-forebay-explain": "1"}
    with proxy.http.stream("POST", "/v1/completions", json=body, headers=headers) as stream:
        rank = stream.headers["x-forebay-decode"]
        events = stream.iter_lines()
        next(events)
        left = proxy.change("remove", "decode", rank)
        assert left["message"] == f"Instances ['{rank}'] are isolated and waiting to be removed."
        assert rank not in left["current_decode_instances"]
        until_now(lambda: proxy.complete().headers["x-forebay-decode"] != rank, "the drain is known")
        assert rank not in {proxy.complete(f"{i}").headers["x-forebay-decode"] for i in range(4)}
        assert f"decode instance {rank} is removed" not in proxy.complained
        assert "data: [DONE]" in list(events)
    until_now(lambda: f"decode instance {rank} is removed" in proxy.complained, "it is gone")
    proxy.change("add", "decode", rank)
    until_now(lambda: proxy.health()["decode_instances"] == 2, "it is back")
    until_now(lambda: proxy.complete().headers["x-forebay-decode"] == rank, "it serves again")


@needs_redis
def test_its_own_redis_may_die(proxy: Proxy) -> None:
    (redis,) = proxy.children
    os.kill(redis, signal.SIGKILL)
    assert {proxy.complete(f"meanwhile {i}").status_code for i in range(8)} == {200}
    until_now(lambda: "redis-server ended with -9; another is started" in proxy.complained, "another is started")
    until_now(lambda: len(proxy.children) == 1 and proxy.children != [redis], "it is there")
    metric = "forebay_gateway_degraded 0.0"
    until_now(lambda: metric in proxy.http.get("/metrics").text, "the ledger is used again")
    assert proxy.complete().status_code == 200


def test_one_process_is_enough_and_a_signal_ends_it(tmp_path: Path, ranks: Ranks) -> None:
    with proxy_running(tmp_path, free_port(), "--one-process", *ranks.words) as proxy:
        assert proxy.children == []
        assert proxy.complete().status_code == 200
        assert proxy.end() == 0
    assert f"proxy ready: http://127.0.0.1:{proxy.port}, model sim, 1 prefill and 2 decode ranks; store: its own" in (
        proxy.said
    )


async def test_its_key_reaches_the_ranks_and_what_it_started_ends_with_it(tmp_path: Path) -> None:
    number = free_port()
    async with scripted_rank(healthy_answers()) as rank:
        words = ["--port", str(number), "--dp-hosts", "127.0.0.1", "--dp-ports", str(rank.port)]
        with running(tmp_path, number, [*FOREBAY, "proxy", *words], OPENAI_API_KEY="key-of-the-ranks") as proxy:
            await until(lambda: any("Bearer key-of-the-ranks" in head for head in rank.heads), "the key is sent")
            children = proxy.children
            assert bool(children) == bool(redis_server_path())
            proxy.process.kill()
            await until(lambda: not any(map(is_alive, children)), "its store has ended")


def test_workers_answer_for_all_of_them(tmp_path: Path, ranks: Ranks) -> None:
    hosts = ["--dp-hosts", "127.0.0.1", "127.0.0.1", "--dp-ports", *map(port, ranks.decode[:2])]
    words = ["dp_load_balance_proxy_server.py", *hosts, "--workers", "2", "--log-level", "WARNING"]
    words += ["--admin-key", "root-key"]
    with proxy_running(tmp_path, free_port(), *words) as proxy:
        assert proxy.said.startswith(f"proxy ready: 2 workers on http://127.0.0.1:{proxy.port}, model sim, 2 mixed")
        body = {"type": "mixed", "instances": ranks.decode[-1]}
        assert proxy.http.post("/instances/add", json=body).status_code == 401
        for _ in range(8):
            with httpx.Client(base_url=proxy.url, trust_env=False) as client:
                assert client.post("/instances/add", json=body, headers=ADMIN).status_code == 200
        until_now(lambda: proxy.health() == {"status": "ok", "dp_instances": 3}, "it is taken in")
        assert {proxy.complete(model=f"adapter-{i}").status_code for i in range(4)} == {404}
        assert proxy.complete().status_code == 200
        children = proxy.children
        assert len(children) >= 2
        assert proxy.end() == 0
        assert " INFO " not in proxy.complained
        all_gone(children)


def test_proxies_on_one_store_share_their_load_and_a_rank_of_another_model_is_refused(
    tmp_path: Path, ranks: Ranks
) -> None:
    with ExitStack() as stack:
        redis = stack.enter_context(redis_server(tmp_path))
        words = [*ranks.words, "--scheduler-host", "127.0.0.1", "--scheduler-port", str(redis.port)]
        words += ["--scheduler-topic", "deepseek"]
        ports = free_ports(2)
        first, second = (stack.enter_context(running(tmp_path, port, command_of(port, *words))) for port in ports)
        first.wait_until_ready()
        second.wait_until_ready()
        assert "proxies on it share their load" in second.said
        other = stack.enter_context(running_rank("--model", "other", "--role", "decode"))
        first.change("add", "decode", f"127.0.0.1:{other.port}")
        refusal = f"127.0.0.1:{other.port} is not offered: serves other, not sim"
        until_now(lambda: refusal in first.complained, "the stranger is refused")
        assert first.health()["decode_instances"] == 2
        body = {"model": "sim", "prompt": "Once", "max_tokens": 30_000, "stream": True, "ignore_eos": True}
        with first.http.stream("POST", "/v1/completions", json=body) as stream:
            next(stream.iter_lines())
            until_now(lambda: second.health()["request_num"] == 1, "the other proxy knows of the stream")
        shown = CliRunner().invoke(main, ["status", "--json", "--redis", redis.url]).stdout
        assert {rank["pool"] for rank in json.loads(shown)["ranks"]} == {"deepseek"}


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_port_in_use_is_told_in_one_line_before_anything_starts(ranks: Ranks, workers: str) -> None:
    with bound("127.0.0.1", 0) as taken:
        taken.listen()
        number = taken.getsockname()[1]
        words = ["proxy", "--host", "127.0.0.1", "--port", str(number), "--workers", workers, *ranks.words]
        done = CliRunner().invoke(main, words)
    assert done.exit_code == 1
    assert done.stderr.startswith(f"Error: cannot listen on 127.0.0.1 port {number}: Address already in use")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_stat_socket_that_cannot_be_had_is_told_before_a_rank_is_waited_for(tmp_path: Path, workers: str) -> None:
    path = tmp_path / "notes"
    path.write_text("precious")
    words = ["proxy", "--port", "0", "--dp-hosts", "127.0.0.1", "--dp-ports", str(free_port())]
    done = CliRunner().invoke(main, [*words, "--stat-socket", str(path), "--workers", workers])
    told = f"Error: stat socket {path}: there is something else of that name\n"
    assert (done.exit_code, done.stderr) == (1, told)
    assert path.read_text() == "precious"


def test_a_store_that_is_none_is_told_in_one_line_before_anything_starts(ranks: Ranks) -> None:
    done = CliRunner().invoke(main, ["proxy", "--port", "0", "--redis", f"redis://{ranks.decode[0]}/0", *ranks.words])
    assert done.exit_code == 1
    assert done.stderr.startswith("Error: Redis answered: Protocol error")
    assert done.stderr.count("\n") == 1


def test_ranks_that_never_answer_are_waited_for_until_a_signal(tmp_path: Path) -> None:
    number = free_port()
    command = [*FOREBAY, "proxy", "--port", str(number), "--dp-hosts", "127.0.0.1", "--dp-ports", str(free_port())]
    with running(tmp_path, number, command) as proxy:
        until_now(lambda: "waiting for one of 1 ranks to say what it serves" in proxy.complained, "it says so")
        children = proxy.children
        assert proxy.end() == 0
        all_gone(children)
    assert proxy.said == ""
