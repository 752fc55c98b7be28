"""The server's HTTP: connections kept, requests pipelined or cut in pieces, old clients, nonsense."""

from collections.abc import Iterator

import pytest

from tests.simulator.rank_process import RankProcess, parse, read_all, request, running_rank

ASK = {"prompt": "x", "max_tokens": 3, "ignore_eos": True}
STREAM = {**ASK, "stream": True}


@pytest.fixture(scope="module")
def rank() -> Iterator[RankProcess]:
    with running_rank("--speed", "100") as process:
        yield process


def kept(method: str, path: str, body: object = None) -> bytes:
    return request(method, path, body, Connection="keep-alive")


def test_pipelined_requests_are_answered_in_order(rank: RankProcess) -> None:
    many = kept("GET", "/version") * 300
    with rank.connect() as client:
        client.sendall(kept("POST", "/v1/completions", ASK) + many + request("GET", "/health"))
        raw = read_all(client)
    assert raw.count(b"HTTP/1.1 200 OK") == 302
    assert raw.index(b"text_completion") < raw.index(b'{"version"')


def test_a_connection_serves_a_request_after_a_stream(rank: RankProcess) -> None:
    with rank.connect() as client:
        client.sendall(kept("POST", "/v1/completions", STREAM))
        received = b""
        while not received.endswith(b"0\r\n\r\n"):
            received += client.recv(65536)
        assert b"connection: close" not in received
        client.sendall(request("GET", "/version"))
        assert parse(read_all(client)).json() == {"version": "0.32.0"}


def test_an_idle_connection_is_closed_after_a_while() -> None:
    with running_rank("--keep-alive-s", "0.1") as rank, rank.connect() as client:
        client.sendall(kept("GET", "/version") * 2)
        assert read_all(client).count(b"200 OK") == 2


def test_a_connection_is_not_idle_while_an_answer_is_awaited() -> None:
    with running_rank("--keep-alive-s", "0.001") as rank, rank.connect() as client:
        client.sendall(kept("GET", "/health") + kept("POST", "/v1/completions", ASK))
        assert read_all(client).count(b"200 OK") == 2


def test_a_request_may_come_byte_by_byte(rank: RankProcess) -> None:
    with rank.connect() as client:
        for byte in request("POST", "/v1/completions", ASK):
            client.sendall(bytes([byte]))
        assert parse(read_all(client)).status == 200


def test_an_http_1_0_client_gets_a_stream_without_chunk_framing(rank: RankProcess) -> None:
    raw = request("POST", "/v1/completions", STREAM).replace(b"HTTP/1.1", b"HTTP/1.0", 1)
    reply = rank.send(raw)
    assert not reply.chunks
    assert len(reply.events()) >= 1


def test_a_large_body_is_asked_for_when_the_client_waits(rank: RankProcess) -> None:
    asked = request("POST", "/v1/completions", ASK, Expect="100-continue")
    head, _, body = asked.partition(b"\r\n\r\n")
    with rank.connect() as client:
        client.sendall(head + b"\r\n\r\n")
        assert client.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(body)
        assert parse(read_all(client)).status == 200


@pytest.mark.parametrize("raw", [b"nonsense\r\n\r\n", b"GET http:// HTTP/1.1\r\n\r\n", b"GET / HTTP/9\r\n\r\n"])
def test_nonsense_is_refused_and_the_connection_closed(rank: RankProcess, raw: bytes) -> None:
    reply = rank.send(raw)
    assert (reply.status, reply.body) == (400, b"Invalid HTTP request received.")


def test_a_body_that_ends_early_is_never_served(rank: RankProcess) -> None:
    served = rank.state()["served"]
    with rank.connect() as client:
        client.sendall(request("POST", "/v1/completions", ASK)[:-5])
    assert rank.state()["served"] == served
