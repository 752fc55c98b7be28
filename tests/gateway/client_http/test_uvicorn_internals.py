"""What gateway/client_http stands on inside of uvicorn: each by what it does, under its own name."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httptools
import pytest
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from tests.gateway.client_http.uvicorn_connection import GET, HEAD, Connection, Wire

POST = b"POST /a HTTP/1.1\r\nHost: g\r\nContent-Length: 2\r\n\r\n"
EXPECTING = POST.replace(b"Host", b"Expect: 100-continue\r\nHost")
CLOSE = (b"connection", b"close")


@pytest.fixture
async def connection() -> AsyncIterator[Connection]:
    made = Connection()
    yield made
    await made.close()


def test_status_line_has_each_status_with_its_line_end() -> None:
    assert STATUS_LINE[404] == b"HTTP/1.1 404 Not Found\r\n"
    assert set(STATUS_LINE) == set(range(100, 600))


async def test_connection_made_sets_transport_flow_loop_and_connections(connection: Connection) -> None:
    protocol = connection.protocol
    assert protocol.transport is connection.wire
    assert type(protocol.flow) is FlowControl
    assert protocol.loop is asyncio.get_running_loop()
    assert connection.state.connections == {protocol}


async def test_parser_calls_the_protocol_back(connection: Connection) -> None:
    assert type(connection.protocol.parser) is httptools.HttpRequestParser
    connection.protocol.parser.feed_data(GET)
    assert connection.protocol.parser.get_http_version() == "1.1"
    assert (await connection.next_call()).scope["path"] == "/a"


@pytest.mark.parametrize("name", ["on_message_begin", "on_url", "on_header", "on_headers_complete", "on_body",
                                  "on_message_complete"])  # fmt: skip
async def test_each_callback_of_the_parser_is_a_method_to_override(name: str) -> None:
    called = []

    def seen(protocol: HttpToolsProtocol, *arguments: bytes) -> None:
        called.append(name)
        getattr(HttpToolsProtocol, name)(protocol, *arguments)

    overriding = Connection(type("Overriding", (HttpToolsProtocol,), {name: seen}))
    call = await overriding.call(POST + b"{}")
    assert set(called) == {name}
    assert await call.receive() == {"type": "http.request", "body": b"{}", "more_body": False}
    await overriding.close()


async def test_on_message_begin_makes_headers_anew_and_on_header_adds_to_them(connection: Connection) -> None:
    call = await connection.call(GET.replace(b"Host", b"X-Odd: 1\r\nHost"))
    headers = connection.protocol.headers
    assert headers == call.scope["headers"] == [(b"x-odd", b"1"), (b"host", b"g")]
    connection.protocol.on_header(b"X-Trailed", b"2")
    assert call.scope["headers"][-1] == (b"x-trailed", b"2")
    connection.protocol.on_message_begin()
    assert connection.protocol.headers == []


async def test_expect_100_continue_may_be_taken_back_before_on_headers_complete() -> None:
    class Silent(HttpToolsProtocol):
        def on_headers_complete(self) -> None:
            assert self.expect_100_continue
            self.expect_100_continue = False
            super().on_headers_complete()

    silent, usual = Connection(Silent), Connection()
    for one, written in ((silent, b""), (usual, b"HTTP/1.1 100 Continue\r\n\r\n")):
        call = await one.call(EXPECTING + b"{}")
        await call.receive()
        assert one.wire.written == written
        await one.close()


async def test_waiting_for_100_continue_is_cleared_to_keep_it_from_being_sent(connection: Connection) -> None:
    call = await connection.call(EXPECTING + b"{}")
    assert connection.cycle.waiting_for_100_continue
    connection.cycle.waiting_for_100_continue = False
    await call.receive()
    assert connection.wire.written == b""


async def test_should_upgrade_decides_whether_a_request_is_a_request() -> None:
    class Steadfast(HttpToolsProtocol):
        def _should_upgrade(self) -> bool:
            return False

    steadfast = Connection(Steadfast)
    offer = GET.replace(b"Host", b"Connection: upgrade\r\nUpgrade: websocket\r\nHost")
    with pytest.raises(httptools.HttpParserUpgrade):
        steadfast.protocol.parser.feed_data(offer)
    assert (await steadfast.next_call()).scope["path"] == "/a"
    await steadfast.close()


async def test_start_asgi_task_gets_each_cycle_with_its_application() -> None:
    class Wrapping(HttpToolsProtocol):
        def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
            async def wrapped(scope: Any, receive: Any, send: Any) -> None:
                await app(scope | {"wrapped": True}, receive, send)

            cycle.scope["own"] = 1  # type: ignore[typeddict-unknown-key]
            super()._start_asgi_task(cycle, wrapped)

    wrapping = Connection(Wrapping)
    first = await wrapping.call(GET + GET)
    await first.answer()
    for call in (first, await wrapping.next_call()):
        assert (call.scope["wrapped"], call.scope["own"]) == (True, 1)
    await wrapping.close()


async def test_pipeline_holds_what_waits_for_its_turn_and_cycle_is_the_last_request_read(
    connection: Connection,
) -> None:
    first = await connection.call(GET)
    running = connection.cycle
    connection.protocol.data_received(GET + GET)
    assert len(connection.protocol.pipeline) == 2
    assert connection.cycle is not running
    assert connection.cycle is connection.protocol.pipeline[0][0]
    assert not connection.wire.is_reading_now
    await first.answer()
    await connection.next_call()
    assert len(connection.protocol.pipeline) == 1
    assert connection.wire.is_reading_now


async def test_on_response_complete_is_called_at_the_end_of_each_answer() -> None:
    ended: list[bool] = []

    class Counting(HttpToolsProtocol):
        def on_response_complete(self) -> None:
            ended.append(self.cycle.response_complete)
            super().on_response_complete()

    counting = Connection(Counting)
    for _ in range(2):
        await (await counting.call()).answer()
    assert ended == [True, True]
    await counting.close()


async def test_unset_keepalive_if_required_cancels_the_timeout_keep_alive_task(connection: Connection) -> None:
    assert connection.protocol.timeout_keep_alive_task is None
    await (await connection.call()).answer()
    timer = connection.protocol.timeout_keep_alive_task
    assert timer is not None
    connection.protocol._unset_keepalive_if_required()
    assert timer.cancelled()
    assert connection.protocol.timeout_keep_alive_task is None


async def test_timeout_keep_alive_handler_is_called_when_no_request_comes() -> None:
    called = asyncio.Event()

    class Waiting(HttpToolsProtocol):
        def timeout_keep_alive_handler(self) -> None:
            called.set()

    waiting = Connection(Waiting, timeout_keep_alive=0)
    await (await waiting.call()).answer()
    await called.wait()
    assert not waiting.wire.is_closed
    await waiting.close()


async def test_shutdown_closes_what_is_idle_and_ends_keep_alive_of_what_runs() -> None:
    idle, busy = Connection(), Connection()
    call = await busy.call()
    for one in (idle, busy):
        one.protocol.shutdown()
    assert (idle.wire.is_closed, busy.wire.is_closed) == (True, False)
    assert not busy.cycle.keep_alive
    await call.answer()
    assert b"connection: close\r\n" in busy.wire.written
    assert busy.wire.is_closed
    for one in (idle, busy):
        await one.close()


async def test_connection_lost_tells_the_last_request_and_forgets_the_connection(connection: Connection) -> None:
    call = await connection.call(GET)
    assert (await call.receive())["type"] == "http.request"
    connection.protocol.connection_lost(None)
    assert connection.cycle.disconnected
    assert await call.receive() == {"type": "http.disconnect"}
    assert connection.state.connections == set()


async def test_connection_lost_by_a_reset_leaves_the_keep_alive_timer(connection: Connection) -> None:
    """It is cancelled by us; when uvicorn does so, that line may go."""
    await (await connection.call()).answer()
    connection.protocol.connection_lost(ConnectionResetError())
    timer = connection.protocol.timeout_keep_alive_task
    assert timer is not None
    timer.cancel()


@pytest.mark.parametrize("name", ["pause_writing", "resume_writing"])
async def test_pause_writing_and_resume_writing_go_to_whatever_flow_is_there(
    name: str, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    called = []
    connection.protocol.flow = FlowControl(connection.wire)
    monkeypatch.setattr(connection.protocol.flow, name, lambda: called.append(name))
    getattr(connection.protocol, name)()
    assert called == [name]


async def test_a_cycle_takes_the_flow_that_is_there_at_its_head(connection: Connection) -> None:
    flow = connection.protocol.flow = FlowControl(connection.wire)
    await connection.call()
    assert connection.cycle.flow is flow


async def test_transport_of_a_cycle_may_be_another_and_is_written_to_and_closed(connection: Connection) -> None:
    call = await connection.call()
    other = Wire()
    assert connection.cycle.transport is connection.wire
    connection.cycle.transport = other
    await call.answer(CLOSE)
    assert other.written.startswith(STATUS_LINE[200])
    assert (other.is_closed, connection.wire.written, connection.wire.is_closed) == (True, b"", False)


async def test_response_started_and_response_complete_follow_the_answer(connection: Connection) -> None:
    call = await connection.call()
    cycle = connection.cycle
    assert (cycle.response_started, cycle.response_complete) == (False, False)
    await call.send(HEAD)
    assert (cycle.response_started, cycle.response_complete) == (True, False)
    await call.send({"type": "http.response.body"})
    assert (cycle.response_started, cycle.response_complete) == (True, True)


async def test_response_complete_is_set_before_the_transport_is_closed(connection: Connection) -> None:
    seen = []

    class Asking(Wire):
        def close(self) -> None:
            seen.append(connection.cycle.response_complete)

    call = await connection.call()
    connection.cycle.transport = Asking()
    await call.answer(CLOSE)
    assert seen == [True]


async def test_more_body_and_body_are_of_what_still_comes(connection: Connection) -> None:
    call = await connection.call(POST + b"{")
    cycle = connection.cycle
    assert (bytes(cycle.body), cycle.more_body) == (b"{", True)
    assert await call.receive() == {"type": "http.request", "body": b"{", "more_body": True}
    connection.protocol.data_received(b"}")
    assert (bytes(cycle.body), cycle.more_body) == (b"}", False)


@pytest.mark.parametrize(("headers", "chunked"), [((), True), (((b"content-length", b"2"),), False)])
async def test_chunked_encoding_says_how_an_answer_is_framed(
    headers: tuple[tuple[bytes, bytes], ...], chunked: bool, connection: Connection
) -> None:
    call = await connection.call()
    assert connection.cycle.chunked_encoding is None
    await call.answer(*headers)
    assert connection.cycle.chunked_encoding is chunked
    assert connection.wire.written.endswith(b"2\r\nok\r\n0\r\n\r\n" if chunked else b"\r\n\r\nok")


async def test_expected_content_length_is_what_may_still_be_sent_without_chunks(connection: Connection) -> None:
    call = await connection.call()
    connection.cycle.chunked_encoding = False
    connection.cycle.expected_content_length = 7
    await call.send(HEAD)
    await call.send({"type": "http.response.body", "body": b"hello", "more_body": True})
    assert connection.cycle.expected_content_length == 2
    await call.send({"type": "http.response.body", "body": b"ok"})
    assert connection.wire.written.endswith(b"\r\n\r\nhellook")


async def test_keep_alive_decides_what_an_answer_says_of_its_connection(connection: Connection) -> None:
    call = await connection.call()
    assert connection.cycle.keep_alive
    connection.cycle.keep_alive = False
    await call.answer()
    assert b"connection: close\r\n" in connection.wire.written
    assert connection.wire.is_closed


async def test_disconnected_and_message_event_end_a_request_that_waits(connection: Connection) -> None:
    call = await connection.call(POST)
    connection.cycle.message_event.clear()
    async with asyncio.TaskGroup() as tasks:
        received = tasks.create_task(call.receive())
        await asyncio.sleep(0)
        connection.cycle.disconnected = True
        connection.cycle.message_event.set()
    assert received.result() == {"type": "http.disconnect"}
    await call.send(HEAD)
    assert connection.wire.written == b""


@pytest.mark.parametrize(("pause", "reads"), [("pause_reading", False), ("resume_reading", True)])
def test_pause_reading_and_resume_reading_of_flow_control_reach_its_transport(pause: str, reads: bool) -> None:
    async def run() -> None:
        wire = Wire()
        flow = FlowControl(wire)
        assert flow._transport is wire
        flow.pause_reading()
        getattr(flow, pause)()
        assert wire.is_reading_now is reads

    asyncio.run(run())


async def test_write_paused_makes_a_sender_wait_until_resume_writing(connection: Connection) -> None:
    call = await connection.call()
    flow = connection.protocol.flow
    flow.pause_writing()
    assert flow.write_paused
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(call.send(HEAD))
        await asyncio.sleep(0)
        assert connection.wire.written == b""
        flow.resume_writing()
    assert not flow.write_paused
    assert connection.wire.written != b""


async def test_drain_waits_while_write_paused_is_set(connection: Connection) -> None:
    flow = connection.protocol.flow
    flow.pause_writing()
    async with asyncio.TaskGroup() as tasks:
        drained = tasks.create_task(flow.drain())
        await asyncio.sleep(0)
        assert not drained.done()
        flow.resume_writing()


async def test_of_a_101_chunked_encoding_and_expected_content_length_may_say_that_no_body_follows(
    connection: Connection,
) -> None:
    call = await connection.call(GET.replace(b"Host", b"Connection: close\r\nHost"))
    cycle = connection.cycle
    cycle.chunked_encoding, cycle.expected_content_length, cycle.keep_alive = False, 0, True
    await call.send(HEAD | {"status": 101, "headers": [(b"upgrade", b"websocket")]})
    assert connection.wire.written == b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\n\r\n"
    cycle.keep_alive = False
    await call.send({"type": "http.response.body", "body": b""})
    assert cycle.response_complete
    assert (connection.wire.written[-4:], connection.wire.is_closed) == (b"\r\n\r\n", True)
    call.is_over.set()
