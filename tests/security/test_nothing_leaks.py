"""No prompt, answer or secret is written down: not into logs, metrics, Redis, receipts, status, nor lists of processes.

Marked ones go through every kind of route and failure of a fleet of real processes that log all there is.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from scheduler.rights import ProcessRole
from tests.polling import until_now
from tests.ports import HOST
from tests.redis_users import password_of
from tests.security.fleet import ADMIN_KEY, API_KEY, RANK_KEY, Fleet, secured_fleet
from tests.servers import needs_redis

pytestmark = needs_redis

PROMPT = "zebrafinch"
WRONG_KEY = "fb-wrong-kookaburra"
COOKIE, TOKEN_IN_QUERY = "cassowary", "lyrebird"
FILE = "bowerbird"
ANSWERED = "Once"
SECRETS = (
    *(PROMPT, WRONG_KEY, COOKIE, TOKEN_IN_QUERY, FILE, API_KEY, ADMIN_KEY, RANK_KEY),
    *(password_of(role) for role in ProcessRole),
)
LONG = f"Tell me of the {PROMPT}. " * 800
CHAT = [{"role": "system", "content": PROMPT}, {"role": "user", "content": [{"type": "text", "text": PROMPT}]}]
JSON_ROUTES: list[tuple[str, dict[str, Any]]] = [
    ("/v1/completions", {"prompt": PROMPT}),
    ("/v1/completions", {"prompt": LONG}),
    ("/v1/completions", {"prompt": LONG, "stream": True}),
    ("/v1/completions", {"prompt": PROMPT, "max_tokens": -1}),
    ("/v1/completions", {"prompt": PROMPT, "max_tokens": PROMPT}),
    ("/v1/completions", {"prompt": {PROMPT: 1}}),
    ("/v1/completions", {"prompt": PROMPT, "model": f"no-{PROMPT}"}),
    ("/v1/chat/completions", {"messages": CHAT}),
    ("/v1/chat/completions", {"messages": CHAT, "stream": True}),
    ("/v1/chat/completions", {"messages": CHAT, "user": PROMPT, "tools": [{"type": PROMPT}]}),
    ("/v1/chat/completions", {"messages": PROMPT}),
    ("/v1/responses", {"input": LONG}),
    ("/v1/responses", {"input": PROMPT, "previous_response_id": f"resp_{PROMPT}"}),
    ("/v1/messages", {"messages": [{"role": "user", "content": LONG}]}),
    ("/v1/messages", {"messages": [{"role": PROMPT, "content": LONG}], "stream": True}),
    ("/v1/embeddings", {"input": PROMPT}),
    ("/rerank", {"query": PROMPT, "documents": [PROMPT]}),
    ("/tokenize", {"prompt": PROMPT}),
    ("/inference/v1/generate", {"token_ids": PROMPT}),
    (f"/v1/{PROMPT}", {"prompt": PROMPT}),
]


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """After all of the requests below, with what they have left."""
    with secured_fleet(tmp_path_factory.mktemp("fleet")) as running:
        with running.client() as client:
            until_now(lambda: _is_answered(client), "a prompt was answered", pause_s=0.05)
            _ask_everything(client)
        _fail(running)
        yield running


def _is_answered(client: httpx.Client) -> bool:
    answer = client.post("/v1/completions", json={"model": "sim", "prompt": LONG, "max_tokens": 2})
    return answer.status_code == 200


def _ask_everything(client: httpx.Client) -> None:
    hidden = {"x-forebay-explain": "1", "cookie": f"session={COOKIE}", "x-request-id": "the-clients-own"}
    for path, fields in JSON_ROUTES:
        client.post(path, json={"model": "sim", "max_tokens": 2} | fields, headers=hidden)
    client.post("/v1/completions", content=f'{{"model": "sim", "prompt": "{PROMPT}"'.encode(), headers=hidden)
    client.post(f"/v1/completions?token={TOKEN_IN_QUERY}", json={"model": "sim", "prompt": PROMPT})
    client.get(f"/v1/models?token={TOKEN_IN_QUERY}")
    client.post("/v1/audio/transcriptions", data={"model": "sim", "prompt": PROMPT}, files={"file": FILE.encode()})
    client.get("/v1/responses/resp_of_nobody")
    for key in (WRONG_KEY, ADMIN_KEY, "-"):
        login = {"authorization": f"Bearer {key}"}
        for method, path in (("GET", "/v1/models"), ("GET", "/admin/state"), ("POST", "/reset_prefix_cache")):
            client.request(method, path, headers=login)
    client.get("/v1/models", headers={"authorization": f"Basic {base64.b64encode(WRONG_KEY.encode()).decode()}"})
    client.get("/v1/realtime?model=sim", headers={"sec-websocket-protocol": f"openai-insecure-api-key.{WRONG_KEY}"})


def _fail(fleet: Fleet) -> None:
    """Clients that leave, ranks that die within an answer, and others that nobody can reach."""
    body = {"model": "sim", "prompt": LONG, "stream": True, "max_tokens": 100_000, "ignore_eos": True}
    with fleet.client() as client, client.stream("POST", "/v1/completions", json=body) as answer:
        next(answer.iter_lines())
    with fleet.client() as client, client.stream("POST", "/v1/completions", json=body) as answer:
        lines = answer.iter_lines()
        next(lines)
        for role in ("prefill", "decode", "mixed"):
            fleet.processes[f"rank-{role}"].kill()
        assert "error" in "".join(lines)
    for role in ("prefill", "decode", "mixed"):
        fleet.processes.pop(f"rank-{role}").wait()
    with fleet.client() as client:
        for path, fields in JSON_ROUTES[:4]:
            assert client.post(path, json={"model": "sim", "max_tokens": 2} | fields).status_code >= 400


def assert_clean(text: str, where: str) -> None:
    for secret in SECRETS:
        for form in (secret, base64.b64encode(secret.encode()).decode().rstrip("="), json.dumps(secret)[1:-1]):
            assert form not in text, f"{where} holds {secret!r}"


def test_logs_have_lines_of_requests_and_nothing_of_what_was_said(fleet: Fleet) -> None:
    logs = {file.name: file.read_text(errors="replace") for file in fleet.folder.glob("*.log")}
    assert '"event":"request"' in logs["gateway.log"]
    assert "rank_key" not in logs["gateway.log"]
    for name, text in logs.items():
        assert_clean(text, name)


def test_metrics_and_state_show_none(fleet: Fleet) -> None:
    with fleet.client(ADMIN_KEY) as client:
        for path in ("/metrics", "/admin/state", "/healthz", "/readyz", "/version"):
            answer = client.get(path)
            assert answer.status_code == 200
            assert_clean(answer.text, path)


def test_redis_holds_none(fleet: Fleet) -> None:
    with fleet.admin_of_redis() as redis:
        dump = [key + b" " + _content(redis, key) for key in redis.scan_iter("*")]
        slow = repr(redis.slowlog_get(1000))
    assert any(b"receipt" in each for each in dump)
    assert any(re.search(rb"\{sim/\d+\}", each) for each in dump), "the prefix index has blocks of the long prompt"
    assert_clean(b"\n".join(dump).decode("latin-1"), "Redis")
    assert_clean(slow, "the slow log")
    said_of = hashlib.sha256(API_KEY.encode()).hexdigest()
    assert said_of not in b"\n".join(dump).decode("latin-1")


def _content(redis: Any, key: bytes) -> bytes:
    match redis.type(key):
        case b"string":
            return bytes(redis.get(key))
        case b"hash":
            return repr(redis.hgetall(key)).encode()
        case b"zset":
            return repr(redis.zrange(key, 0, -1)).encode()
        case b"set":
            return repr(redis.smembers(key)).encode()
        case b"stream":
            return repr(redis.xrange(key)).encode()
    raise AssertionError(key)


def test_no_process_was_refused_what_it_needs(fleet: Fleet) -> None:
    with fleet.admin_of_redis() as redis:
        refused = {(entry["username"], entry["object"]) for entry in redis.acl_log(1000)}
        hellos = {("gateway", "config|get")}  # managed servers refuse that too
    assert {each for each in refused - hellos if not each[1].startswith("client|")} == set()


def test_operators_drain_and_others_do_not(fleet: Fleet) -> None:
    rank = f"{HOST}:{fleet.ranks['mixed']}"
    for command in ("drain", "undrain"):
        until_now(lambda command=command: fleet.run(command, rank).exit_code == 0, f"the operator can {command}")  # type: ignore[misc]
    for role in (ProcessRole.AGENT, ProcessRole.GATEWAY):
        done = fleet.run("drain", rank, role=role)
        assert (done.exit_code, "Redis " in done.stderr) == (1, True)


def test_status_and_receipts_show_none(fleet: Fleet) -> None:
    with fleet.admin_of_redis() as redis:
        ids = {fields[b"request"].decode() for _, fields in redis.xrange("forebay:1:{sim}:receipts")}
    assert "the-clients-own" in ids
    for arguments in (("status",), ("status", "--json"), ("explain", "the-clients-own"), ("explain", "nobody's")):
        done = fleet.run(*arguments)
        assert_clean(done.stdout + done.stderr, " ".join(arguments))


def test_no_secret_is_in_a_list_of_processes(fleet: Fleet) -> None:
    for name, process in fleet.processes.items():
        told = Path(f"/proc/{process.pid}/cmdline").read_bytes().decode()
        assert_clean(told, f"the command line of {name}")


def test_a_redis_that_refuses_us_is_told_in_a_line_without_the_password(fleet: Fleet) -> None:
    url = fleet.redis_url(ProcessRole.AGENT).replace(password_of(ProcessRole.AGENT), f"wrong-{PROMPT}")
    agent = ["agent", "--model", "sim", "--role", "mixed", "--ranks", "a:1"]
    for command in (["status"], ["drain", f"{HOST}:1"], agent):
        done = fleet.process(*command, "--redis", url)
        assert done.returncode == 1
        assert_clean(done.stdout + done.stderr, command[0])
        (line,) = [each for each in done.stderr.splitlines() if each.startswith("Error: ")]
        assert "Redis refuses us" in line


@pytest.mark.parametrize("option", ["--rank-api-key", "--admin-key", "--api-key", "--redis", "--prefix-secret"])
def test_an_option_that_is_refused_is_not_repeated(fleet: Fleet, option: str) -> None:
    for value in (f"{PROMPT} with blanks\n", f"redis://u:{PROMPT}@x:y/", f"{PROMPT}\x00"[:-1] + "\u00e9"):
        done = fleet.run("gateway", "--port", "70000", option, value)
        assert done.exit_code == 2
        assert_clean(done.stdout + done.stderr, option)
