"""A metaserver for tests of simulated ranks: remembers calls, and answers as a test says."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Queue
from typing import Any


class Metaserver:
    """`url` is what decode legs are to call; calls are answered once what it `waits_for` is set."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.calls: Queue[dict[str, Any]] = Queue()
        self.waits_for = threading.Event()
        self.waits_for.set()
        self.status = 200

    def call(self) -> dict[str, Any]:
        """The next call."""
        return self.calls.get(timeout=30)

    def params(self) -> dict[str, Any]:
        """What a decode leg carries."""
        return {"do_remote_decode": False, "do_remote_prefill": True, "metaserver": self.url}


@contextmanager
def metaserver() -> Iterator[Metaserver]:
    """One that listens."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            served.calls.put(json.loads(body))
            served.waits_for.wait(30)
            self.send_response(served.status)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            """Nothing is logged."""

    class Server(ThreadingHTTPServer):
        request_queue_size = 256

    with Server(("127.0.0.1", 0), Handler) as server:
        served = Metaserver(f"http://127.0.0.1:{server.server_port}/m/secret")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield served
        finally:
            server.shutdown()
            thread.join()
