"""Whatever bytes come over a connection, a rank answers or closes, goes on serving others, and logs nothing."""

import socket
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.simulator.rank_process import RankProcess, eventually, parse, read_all, request, running_rank

ASK = {"prompt": "x", "max_tokens": 2, "stream": True}
CHUNKED = (
    b"POST /tokenize HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Type: application/json\r\n\r\n"
    b'10\r\n{"prompt":"abc"}\r\n0\r\n\r\n'
)
SOUND = [
    request("POST", "/v1/completions", ASK),
    request("POST", "/v1/completions", ASK, Connection="keep-alive", X_data_parallel_rank="0"),
    request("GET", "/health") + request("GET", "/version", Connection="keep-alive"),
    CHUNKED,
]
PIECES = [
    b"", b"\r\n", b"\n", b"\x00", b"\xff", b" ", b":", b"HTTP/1.0", b"HTTP/2.0", b"CONNECT a:1 HTTP/1.1\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\n", b"Upgrade: h2c\r\nConnection: Upgrade\r\n", b"Expect: 100-continue\r\n",
    b"Content-Length: 99999999999999999999\r\n", b"Content-Length: -1\r\n", b"Transfer-Encoding: chunked\r\n",
    b"/" * 300,
    b"X-data-parallel-rank: 1" + b"0" * 5000 + b"\r\n", b"X-data-parallel-rank: \xb2\r\n", b"X-Request-Id: \xff\r\n",
]  # fmt: skip


@pytest.fixture(scope="module")
def rank() -> Iterator[RankProcess]:
    with running_rank("--speed", "500", "--max-model-len", "512", "--kv-blocks", "64") as process:
        yield process


@st.composite
def spoilt(draw: st.DrawFn) -> bytes:
    raw = draw(st.sampled_from(SOUND))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(raw)) | st.sampled_from([raw.find(b"\r\n") + 2, raw.find(b" ") + 1]))
        piece = draw(st.sampled_from(PIECES) | st.binary(max_size=4))
        raw = raw[:at] + piece + raw[at + draw(st.integers(0, 12) | st.just(0)) :]
    return raw


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(raw=spoilt())
def test_spoilt_bytes_are_answered_or_the_connection_is_closed(rank: RankProcess, raw: bytes) -> None:
    with rank.connect() as client:
        try:
            client.sendall(raw)
            client.shutdown(socket.SHUT_WR)
            answer = read_all(client)
        except ConnectionError:
            answer = b""
    assert answer[:9] in (b"", b"HTTP/1.1 ")
    assert b"HTTP/1.1 5" not in answer
    assert rank.get("/health").status == 200
    eventually(lambda: rank.state()["in_flight"] == 0)


@pytest.mark.parametrize("status", [418, 499, 599])
def test_a_simulated_fault_may_have_a_status_without_a_phrase(rank: RankProcess, status: int) -> None:
    rank.post("/sim/fault", {"kind": "error", "status": status, "count": 1})
    assert rank.post("/v1/completions", ASK).status == status


def test_an_offer_to_upgrade_is_passed_over(rank: RankProcess) -> None:
    with rank.connect() as client:
        client.sendall(request("GET", "/version", Connection="Upgrade", Upgrade="h2c"))
        assert parse(read_all(client)).json() == {"version": "0.32.0"}
