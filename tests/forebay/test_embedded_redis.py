"""The embedded server behind a real socket and the real client."""

import socket
import threading
from collections.abc import Iterator

import pytest
import redis

from forebay.embedded_redis import EmbeddedRedis

UNKNOWN_SCRIPT = "0" * 40


def port_of(client: redis.Redis) -> int:
    return int(client.get_connection_kwargs()["port"])


@pytest.fixture
def client() -> Iterator[redis.Redis]:
    with EmbeddedRedis("127.0.0.1", 0) as server:
        serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        serving.start()
        with redis.Redis(port=server.server_address[1]) as connection:
            yield connection
        server.shutdown()
        serving.join()


def test_an_error_is_a_reply_and_the_connection_stays(client: redis.Redis) -> None:
    identity = client.client_id()
    with pytest.raises(redis.exceptions.NoScriptError):
        client.evalsha(UNKNOWN_SCRIPT, 0)
    assert client.client_id() == identity


def test_errors_in_a_pipeline_leave_the_other_replies_whole(client: redis.Redis) -> None:
    pipeline = client.pipeline(transaction=False)
    pipeline.set("key", b"\x00\xff\r\n")
    pipeline.evalsha(UNKNOWN_SCRIPT, 0)
    pipeline.get("key")
    replies = pipeline.execute(raise_on_error=False)
    assert replies[0] is True
    assert isinstance(replies[1], redis.exceptions.NoScriptError)
    assert replies[2] == b"\x00\xff\r\n"


def test_scripts_see_the_keys_of_other_connections(client: redis.Redis) -> None:
    client.set("count", 41)
    with redis.Redis(port=port_of(client)) as other:
        assert other.eval("return redis.call('INCR', KEYS[1])", 1, "count") == 42


def test_a_large_value_comes_back_whole(client: redis.Redis) -> None:
    value = b"x" * 3_000_000
    client.set("large", value)
    assert client.get("large") == value


def test_commands_of_many_connections_at_once_are_all_applied(client: redis.Redis) -> None:
    def count() -> None:
        with redis.Redis(port=port_of(client)) as other:
            for _ in range(50):
                other.incr("count")

    threads = [threading.Thread(target=count) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert client.get("count") == b"300"


def test_what_is_not_the_protocol_gets_an_error_and_the_end(client: redis.Redis) -> None:
    with socket.create_connection(("127.0.0.1", port_of(client)), timeout=10) as stranger:
        stranger.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert stranger.recv(100).startswith(b"-ERR")
        assert stranger.recv(100) == b""
    assert client.ping()
