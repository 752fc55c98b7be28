"""`forebay local-redis`: the Redis of `forebay up`, hidden from the help."""

from __future__ import annotations

import os
import signal
import threading

import click

from forebay.embedded_redis import EmbeddedRedis
from forebay.local_redis import redis_server_path
from forebay.ports import LOOPBACK


@click.command("local-redis", hidden=True)
@click.option("--port", type=click.IntRange(1, 65535), required=True, help="Port to listen on.")
def command(port: int) -> None:
    """Run redis-server, or the embedded server where there is none, on 127.0.0.1 and without persistence."""
    if path := redis_server_path():
        options = ("--bind", LOOPBACK, "--port", str(port), "--save", "", "--appendonly", "no")
        os.execv(path, [path, *options, "--maxmemory-policy", "noeviction", "--loglevel", "warning"])  # noqa: S606
    else:
        _serve_embedded(port)


def _serve_embedded(port: int) -> None:
    with EmbeddedRedis(LOOPBACK, port) as server:
        signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
        server.serve_forever()
