"""A server in a thread that answers as a test says, and knows what it was asked."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

MODELS = {"object": "list", "data": [{"id": "sim", "object": "model"}]}


class Reply(NamedTuple):
    status: int = 200
    body: Any = None
    headers: tuple[tuple[str, str], ...] = ()


class Asked(NamedTuple):
    path: str
    body: Any
    headers: dict[str, str]


Script = Callable[[Asked, int], Reply]
"""What to answer to a POST, and how many POSTs with this body came before."""


def completion(asked: Asked, text: str = "") -> dict[str, Any]:
    choice = {"index": 0, "text": text or f"to {asked.body.get('prompt')}", "finish_reason": "stop"}
    return {"id": "cmpl-1", "object": "text_completion", "model": "sim", "choices": [choice], "usage": {}}


def echo(asked: Asked, _: int) -> Reply:
    return Reply(body=completion(asked))


class ScriptedServer(ThreadingHTTPServer):
    """`posts`: what was asked, in the order of arrival. `most_at_once`: how many POSTs were under way together."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(self, script: Script) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.script = script
        self.models = Reply(body=MODELS)
        self.posts: list[Asked] = []
        self.most_at_once = 0
        self.under_way = 0
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that is killed leaves its connections; that is no error of the server's."""


class _Handler(BaseHTTPRequestHandler):
    server: ScriptedServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        self._send(self.server.models)

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers["content-length"]))
        asked = Asked(self.path, json.loads(content), {name.lower(): value for name, value in self.headers.items()})
        server = self.server
        with server.lock:
            before = sum(each.body == asked.body for each in server.posts)
            server.posts.append(asked)
            server.under_way += 1
            server.most_at_once = max(server.most_at_once, server.under_way)
        try:
            reply = server.script(asked, before)
        finally:
            with server.lock:
                server.under_way -= 1
        self._send(reply)

    def _send(self, reply: Reply) -> None:
        content = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
        self.send_response(reply.status)
        for name, value in reply.headers:
            self.send_header(name, value)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Nobody reads it."""


@contextmanager
def scripted_server(script: Script = echo) -> Iterator[ScriptedServer]:
    server = ScriptedServer(script)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
