"""Bytes in a head that are no text, targets that are none, and bodies that come in drops."""

import asyncio

import pytest

from tests.gateway.client_http.test_not_reading import connections_of_server
from tests.gateway.fake_pools import NOWHERE, FakePool, FakePools, card
from tests.gateway.running import COMPLETIONS, DEADLINE_S, checked_error, eventually, post, serving
from tests.gateway.scripted_rank import COMPLETION, scripted_rank

pytestmark = pytest.mark.usefixtures("only_new_objects")

BODY = b'{"prompt":"x"}'
KEY = "Authorization: Bearer sesame"
POST = post(COMPLETIONS, BODY, KEY)
PATH = COMPLETIONS.encode()


def with_body(body: bytes) -> bytes:
    return post(COMPLETIONS, body, KEY)


REFUSED = {
    "a path that is no ASCII": (400, POST.replace(PATH, PATH + "/\u00e9".encode())),
    "a path that is no UTF-8": (400, POST.replace(PATH, PATH + b"/\xff")),
    "an escaped path that is no UTF-8": (404, POST.replace(PATH, PATH + b"%FF")),
    "a query that is no UTF-8": (400, POST.replace(PATH, PATH + b"?a=\xff")),
    "a method that is none": (400, POST.replace(b"POST", b"P\xffST")),
    "a name that is no ASCII": (400, POST.replace(b"Host", b"H\xffst: x\r\nHost")),
    "a type that is no UTF-8": (400, POST.replace(b"application/json", b"application/js\xffn")),
    "a key that is no UTF-8": (401, POST.replace(b"Bearer sesame", b"Bearer \xff\xfe")),
    "a target without a path": (400, POST.replace(PATH, b"http://g")),
    "a target with an odd host": (400, POST.replace(PATH, b"http://[::1" + PATH)),
    "an asterisk": (404, POST.replace(PATH, b"*")),
    "no target": (400, POST.replace(PATH + b" ", b"")),
    "no version": (400, POST.replace(b" HTTP/1.1", b"")),
    "a body that is no UTF-8": (400, with_body(b'{"prompt":"\xff"}')),
    "a body with no number": (400, with_body(b'{"prompt":"x","temperature":NaN}')),
    "a body that is nested too deeply": (400, with_body(b'{"prompt":' + b"[" * 100_000 + b"]" * 100_000 + b"}")),
}


async def test_what_is_no_text_where_text_must_be_is_refused() -> None:
    async with serving(FakePools(pool := FakePool(NOWHERE)), api_key=("sesame",)) as served:
        for name, (status, sent) in REFUSED.items():
            found, _, body = await served.send(sent)
            assert found == status, name
            if b'"detail"' not in body:
                checked_error(status, body)
        connections = connections_of_server()
        await eventually(lambda: served.gateway.alive == len(connections) == 0)
    assert pool.asked == []


async def test_values_that_are_no_utf8_are_passed_on_or_ignored() -> None:
    odd = POST.replace(b"Host", b"X-Odd: \xff\xfe\r\nX-Request-Id: \xff\r\nHost")
    async with scripted_rank() as rank, serving(FakePools(FakePool(card(rank.url)))) as served:
        status, _, body = await served.send(odd)
    assert (status, body) == (200, COMPLETION)
    assert rank.requests[0].header("x-odd") == "\u00ff\u00fe"
    assert "\u00ff" not in (rank.requests[0].header("x-request-id") or "")


async def test_framing_that_drips_without_a_byte_of_the_body_is_a_408() -> None:
    head = post(COMPLETIONS, b"").replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
    async with serving(FakePools(pool := FakePool(NOWHERE)), client_idle_ms=200) as served:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        answer = asyncio.get_running_loop().create_future()

        async def read() -> None:
            answer.set_result(await reader.readuntil(b"}}"))

        async with asyncio.timeout(DEADLINE_S), asyncio.TaskGroup() as tasks:
            tasks.create_task(read())
            writer.write(head + b"e;")
            while not answer.done():
                writer.write(b"a")
                await asyncio.sleep(0.02)
        writer.close()
        answered, _, body = (await answer).partition(b"\r\n\r\n")
        assert answered.startswith(b"HTTP/1.1 408 ")
        checked_error(408, body)
        connections = connections_of_server()
        await eventually(lambda: served.gateway.alive == len(connections) == 0)
    assert pool.asked == []
