"""What a client sends wrong is told in OpenAI's shape, and nothing is placed for it."""

import asyncio
import logging

import pytest

from tests.gateway.fake_pools import FakePool, FakePools, card, pools_of_nobody
from tests.gateway.running import CHAT, COMPLETIONS, checked_error, error_of, eventually, post, serving
from tests.gateway.scripted_rank import scripted_rank


async def test_what_vllm_would_accept_is_not_refused() -> None:
    async with scripted_rank() as rank, serving(FakePools(FakePool(card(rank.url)))) as served:
        for path, body in (
            (COMPLETIONS, b'{"prompt":"x","max_tokens":"5","stream":"false","n":1.0}'),
            (COMPLETIONS, b'{"prompt":["a","b"],"model":null}'),
            (COMPLETIONS, b'{"prompt":"x","stream":"yes","max_tokens":"1_0"}'),
            (COMPLETIONS, b'{"prompt":[1,2,3]}'),
            (COMPLETIONS, b'{"prompt":[[1],[2,3]]}'),
            (COMPLETIONS, b'{"prompt":""}'),
            (COMPLETIONS, b'{"prompt_embeds":"AAAA"}'),
            (CHAT, b'{"messages":[]}'),
            (CHAT, b'{"messages":[{"role":"assistant","tool_calls":[{"id":"1"}]},{"role":"tool","content":null}]}'),
            (CHAT, b'{"messages":[{"role":"user","content":["a",{"type":"text","text":"b"},{"type":"image_url"}]}]}'),
        ):
            status, _, _ = await served.send(post(path, body))
            assert status == 200, body
    assert len(rank.requests) == 10


@pytest.mark.parametrize("content_type", ["", "Content-Type: text/plain"])
async def test_a_body_that_is_not_declared_to_be_json_is_refused(content_type: str) -> None:
    fakes = pools_of_nobody()
    async with serving(fakes) as served:
        head = f"POST {COMPLETIONS} HTTP/1.1\r\nHost: g\r\nContent-Length: 14\r\n{content_type}\r\n"
        status, _, body = await served.send(head.encode() + (b"\r\n" if content_type else b"") + b'{"prompt":"x"}')
    assert status == 400
    assert "Only 'application/json' is allowed" in checked_error(400, body)["message"]
    assert fakes.placed == 0


async def test_an_oversized_body_is_refused_from_its_declared_length_alone() -> None:
    fakes = pools_of_nobody()
    async with serving(fakes, max_body_bytes=1000) as served:
        head = (
            f"POST {COMPLETIONS} HTTP/1.1\r\nHost: g\r\nContent-Type: application/json\r\nContent-Length: 1001\r\n\r\n"
        )
        status, _, body = await served.send(head.encode())
        at_the_limit, _, _ = await served.send(post(COMPLETIONS, b'{"model":"nope","prompt":"' + b"x" * 972 + b'"}'))
    assert status == 413
    assert "1000 bytes" in checked_error(413, body)["message"]
    assert at_the_limit == 404
    assert fakes.placed == 0


async def test_an_oversized_body_of_unknown_length_is_refused_while_it_comes() -> None:
    fakes = pools_of_nobody()
    head = post(COMPLETIONS, b"").replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
    async with serving(fakes, max_body_bytes=1000) as served:
        endless = head + b"1f4\r\n" + b" " * 500 + b"\r\n" + b"1f5\r\n" + b" " * 501 + b"\r\n"
        status, _, body = await served.send(endless)
    assert status == 413
    checked_error(413, body)
    assert fakes.placed == 0


@pytest.mark.parametrize("half_close", [False, True])
async def test_a_body_that_ends_early_places_nothing(half_close: bool) -> None:
    fakes = pools_of_nobody()
    whole = post(COMPLETIONS, b'{"prompt":"x"}')
    async with serving(fakes) as served:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        writer.write(whole[:-3])
        await eventually(lambda: served.gateway.alive == 1)
        if half_close:
            writer.write_eof()
            assert await reader.read() == b""
        else:
            writer.transport.abort()
        await eventually(lambda: served.gateway.alive == 0)
        writer.close()
    assert fakes.placed == 0


async def test_a_client_that_stops_inside_its_body_is_told_so() -> None:
    fakes = pools_of_nobody()
    async with serving(fakes, client_idle_ms=50) as served:
        status, _, body = await served.send(post(COMPLETIONS, b'{"prompt":"x"}')[:-3])
    assert status == 408
    checked_error(408, body)
    assert fakes.placed == 0


def framed_by(headers: str) -> bytes:
    return post(COMPLETIONS, b"").replace(b"Content-Length: 0", headers.encode()) + b"0\r\n\r\n"


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b"\x16\x03\x01 hello\r\n\r\n", id="another protocol"),
        pytest.param(post(COMPLETIONS, b"").replace(b"Host: gateway", b"X-A: a\x0bb"), id="a control character"),
        pytest.param(framed_by("Transfer-Encoding: chunked\r\nExpect: 100-continue")[:-5] + b"zz\r\n", id="a chunk"),
        pytest.param(framed_by("Transfer-Encoding: gzip, chunked"), id="another coding"),
        pytest.param(framed_by("Transfer-Encoding: chunked, chunked"), id="a coding twice"),
        pytest.param(framed_by("Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked"), id="two lines of codings"),
        pytest.param(b"GET /healthz HTTP/2.0\r\n\r\n", id="a later version"),
        pytest.param(b"GET /healthz HTTP/0.9\r\n\r\n", id="an earlier version"),
        pytest.param(b"GET /healthz HTTP/1.1\r\nHost: g\r\n\r\n\x00\r\n\r\n", id="garbage after a request"),
    ],
)
async def test_bytes_that_are_no_http_are_answered_and_closed(raw: bytes, caplog: pytest.LogCaptureFixture) -> None:
    async with serving(pools_of_nobody()) as served:
        status, headers, body = await served.send(raw)
    assert (status, headers["connection"]) == (400, "close")
    checked_error(400, body)
    assert [one for one in caplog.records if one.levelno >= logging.WARNING] == []


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nope", 404),
        ("GET", "/v1/models/", 404),
        ("POST", "/v1/nope", 404),
        ("GET", COMPLETIONS, 405),
        ("DELETE", "/v1/models", 405),
        ("POST", "/healthz", 405),
        ("POST", COMPLETIONS + "%0A", 404),
        ("GET", "/v1/models%00", 404),
    ],
)
async def test_an_unknown_path_or_method_is_told_in_the_same_shape(method: str, path: str, status: int) -> None:
    async with serving(pools_of_nobody()) as served:
        response = await served.client.request(method, path)
    assert response.status_code == status
    error_of(response)
    assert ("allow" in response.headers) == (status == 405)


@pytest.mark.parametrize("value", ["0", "-1", "1.5", "soon", "86400001", "", "999999999999", "\u0663"])
async def test_a_deadline_that_is_none_is_a_400(value: str) -> None:
    fakes = pools_of_nobody()
    async with serving(fakes) as served:
        response = await served.client.post(
            COMPLETIONS, json={"prompt": "x"}, headers=[(b"x-request-timeout-ms", value.encode())]
        )
    assert error_of(response)["param"] == "x-request-timeout-ms"
    assert response.status_code == 400
    assert fakes.placed == 0
