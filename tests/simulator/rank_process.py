"""Runs simulated ranks as real processes, and speaks to them over raw sockets."""

import json
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Collection, Iterator
from contextlib import closing, contextmanager
from tempfile import TemporaryFile
from typing import IO, Any, NamedTuple

from simulator.misuse import Kind
from tests.polling import until_now
from tests.sse import events_of

DEADLINE_S = 30.0


class Reply(NamedTuple):
    """One HTTP answer; `body` is without chunk framing, `chunks` are the frames if there were any."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes
    chunks: list[bytes]

    def json(self) -> Any:
        return json.loads(self.body)

    def events(self) -> list[Any]:
        """The JSON of each server-sent event, without the final [DONE]."""
        return events_of(self.body.decode())


class RankProcess(NamedTuple):
    """One rank under test."""

    port: int
    process: "subprocess.Popen[str]"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def send(self, raw: bytes) -> Reply:
        """Send bytes on a connection of their own and read to its end."""
        with closing(self.connect()) as client:
            client.sendall(raw)
            return parse(read_all(client))

    def connect(self, receive_buffer_bytes: int | None = None) -> socket.socket:
        client = socket.socket()
        client.settimeout(DEADLINE_S)
        if receive_buffer_bytes is not None:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
        try:
            client.connect(("127.0.0.1", self.port))
        except OSError:
            client.close()
            raise
        return client

    def get(self, path: str) -> Reply:
        return self.send(request("GET", path))

    def post(self, path: str, body: object, **headers: str) -> Reply:
        return self.send(request("POST", path, body, **headers))

    def state(self) -> dict[str, int]:
        state = self.get("/sim/state").json()
        assert isinstance(state, dict)
        return state

    def series(self, name: str) -> dict[str, float]:
        """The values of one metric by its labels as written."""
        page = self.get("/metrics").body.decode()
        return {labels: float(value) for labels, value in re.findall(rf"^{name}(\{{.*\}}) (\S+)$", page, re.MULTILINE)}


def request(method: str, path: str, body: object = None, **headers: str) -> bytes:
    """The bytes of a request; header names are given with underscores."""
    data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    lines = {"Host": "rank", "Connection": "close", "Content-Length": str(len(data))}
    if body is not None:
        lines["Content-Type"] = "application/json"
    lines |= {name.replace("_", "-"): value for name, value in headers.items()}
    head = f"{method} {path} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return head.encode() + b"\r\n" + data


def read_all(client: socket.socket) -> bytes:
    parts = []
    while data := client.recv(65536):
        parts.append(data)
    return b"".join(parts)


def parse(raw: bytes) -> Reply:
    head, _, rest = raw.partition(b"\r\n\r\n")
    status_line, *lines = head.decode("latin-1").split("\r\n")
    headers = [(name, value) for name, _, value in (line.partition(": ") for line in lines)]
    chunks = list(_unframe(rest)) if ("transfer-encoding", "chunked") in headers else []
    return Reply(int(status_line.split()[1]), headers, b"".join(chunks) if chunks else rest, chunks)


def _unframe(rest: bytes) -> Iterator[bytes]:
    while rest:
        size_line, _, rest = rest.partition(b"\r\n")
        size = int(size_line, 16)
        assert rest[size : size + 2] == b"\r\n"
        if size:
            yield rest[:size]
        rest = rest[size + 2 :]


@contextmanager
def running_rank(*options: str, dies_of: str = "", misuse: Collection[Kind] = ()) -> Iterator[RankProcess]:
    """A rank process with these options, ended with the block; it must not have logged anything by then.

    `dies_of`: by the end of the block its engine has died, and said so. With `--strict` it must have seen no misuse
    of KV but these kinds, and all KV it offered must be fetched or freed, unless some may be `abandoned_kv`.
    """
    command = [sys.executable, "-m", "forebay", "rank", "--port", "0", *options]
    with (
        TemporaryFile("w+") as log,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True) as process,
    ):
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            match = re.search(r"https?://127\.0\.0\.1:(\d+)", line)
            assert match, (line, _written(log))
            rank = RankProcess(int(match[1]), process)
            yield rank
            if "--strict" in options and process.poll() is None and not dies_of:
                check_misuse(rank, misuse)
            if dies_of:
                assert process.wait(DEADLINE_S) == 1
        finally:
            process.terminate()
            _await_end(process)
        logged = _written(log)
        assert logged == (f"Error: the engine died: {dies_of}\n" if dies_of else ""), logged


def check_misuse(rank: RankProcess, allowed: Collection[Kind] = ()) -> None:
    """A strict rank has seen no misuse but of these kinds, and nobody leaves KV there that they were told of."""
    if "abandoned_kv" not in allowed:
        eventually(lambda: rank.get("/sim/misuse").json()["unclaimed"] == 0)
    report = rank.get("/sim/misuse").json()
    unexpected = set(report["counts"]) - set(allowed)
    assert not unexpected, report


def _await_end(process: "subprocess.Popen[str]") -> None:
    try:
        process.wait(DEADLINE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        raise


def _written(log: IO[str]) -> str:
    log.seek(0)
    return log.read()


def eventually(holds: Callable[[], bool]) -> None:
    """Wait until something holds; fails after the deadline."""
    until_now(holds, "what the test waits for", within_s=DEADLINE_S, pause_s=0.01)
