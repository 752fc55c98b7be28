"""`/v1/realtime`: a WebSocket through the gateway, end to end, and what is held of it."""

import asyncio
import json
import logging
import os
import signal

import httpx
import pytest
from openai import AsyncOpenAI
from websockets.asyncio.server import ServerConnection
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.http11 import Request, Response

from tests.gateway.fake_pools import NOWHERE, FakePool, FakePools, card, pools_of_nobody
from tests.gateway.running import DEADLINE_S, checked_error, error_of, eventually, nothing_is_held, serving
from tests.gateway.websocket_rank import REALTIME, connecting, reset, sent, websocket_rank

PAGE = "https://app.example"
KEY = "first-key"


async def refusal(connection: object) -> httpx.Response:
    """What a handshake was answered with, which was no 101."""
    with pytest.raises(InvalidStatus) as caught:
        await connection  # type: ignore[misc]
    answer = caught.value.response
    headers = list(answer.headers.raw_items())
    return httpx.Response(answer.status_code, headers=headers, content=bytes(answer.body or b""))


async def test_messages_of_both_kinds_and_any_size_pass_in_both_directions() -> None:
    async with websocket_rank() as rank, serving(FakePools(pool := FakePool(card(rank.url)))) as served:
        async with connecting(served) as client:
            for message in ("hello", b"\0\1", "", "ä" * 1_000_000, bytes(3_000_000)):
                assert await sent(client, message) == message
            assert (pool.words(), served.gateway.alive) == (["dispatched", "first_token"], 1)
        assert (client.close_code, client.close_reason) == (1000, "")
        await eventually(lambda: nothing_is_held(served, pool))
        await eventually(lambda: not rank.open_connections)
    assert pool.words() == ["dispatched", "first_token", "released"]
    assert pool.heard_for == [1]


async def test_a_session_is_placed_as_half_a_minute_of_speech_on_a_rank_that_serves_it_whole() -> None:
    async with (
        websocket_rank() as rank,
        serving(FakePools(pool := FakePool(card(rank.url)))) as served,
        connecting(served),
    ):
        pass
    (shape,) = pool.asked
    assert (shape.prompt_tokens, shape.pairable) == (1500, False)


async def test_the_handshake_is_the_clients_and_the_ranks() -> None:
    headers = {"x-of-client": "1", "x-data-parallel-rank": "3", "cookie": "a=b", "x-request-id": "mine"}
    async with websocket_rank(subprotocols=["b"]) as rank, serving(FakePools(FakePool(card(rank.url)))) as served:
        query = "?model=sim&intent=transcription"
        async with connecting(served, query, additional_headers=headers, subprotocols=["a", "b"]) as client:
            assert client.subprotocol == "b"
            assert client.response is not None
            assert client.response.headers["x-request-id"] == "mine"
            assert "permessage-deflate" in client.response.headers["sec-websocket-extensions"]
            assert await sent(client, "x" * 5000) == "x" * 5000
        (seen,) = rank.seen
        assert seen.request is not None
        assert seen.request.path == REALTIME + query
        got = seen.request.headers
        assert (got["x-of-client"], got["connection"], got["upgrade"]) == ("1", "Upgrade", "websocket")
        assert got["sec-websocket-protocol"].split(", ") == ["a", "b"]
        assert "cookie" not in got
        assert "x-data-parallel-rank" not in got
        assert got["x-request-id"] != "mine"


async def test_the_openai_client_connects() -> None:
    async def creates_a_session(connection: ServerConnection) -> None:
        await connection.send(json.dumps({"type": "session.created", "event_id": "1", "session": {"type": "realtime"}}))
        event = json.loads(await connection.recv())
        await connection.send(json.dumps({"type": "error", "event_id": "2", "error": {"message": event["type"]}}))

    async with (
        websocket_rank(creates_a_session) as rank,
        serving(FakePools(pool := FakePool(card(rank.url))), api_key=(KEY,)) as served,
        AsyncOpenAI(base_url=f"{served.url}/v1", api_key=KEY, max_retries=0) as openai,
    ):
        async with openai.realtime.connect(model="sim") as connection:
            assert (await connection.recv()).type == "session.created"
            await connection.input_audio_buffer.commit()
            error = await connection.recv()
        assert (error.type, error.error.message) == ("error", "input_audio_buffer.commit")  # type: ignore[union-attr]
        await eventually(lambda: nothing_is_held(served, pool))
        (seen,) = rank.seen
        assert seen.request is not None
        assert "authorization" not in seen.request.headers


async def test_the_model_may_be_left_out_while_there_is_one_pool() -> None:
    async with (
        websocket_rank() as rank,
        serving(FakePools(FakePool(card(rank.url)))) as served,
        connecting(served, "") as client,
    ):
        assert await sent(client, "x") == "x"


async def test_of_several_pools_one_has_to_be_named_and_to_exist() -> None:
    async with websocket_rank() as rank:
        pools = FakePools(FakePool(NOWHERE, name="a"), FakePool(card(rank.url), name="b"))
        async with serving(pools) as served:
            unnamed = error_of(await refusal(connecting(served, "")))
            unknown = error_of(await refusal(connecting(served, "?model=c")))
            async with connecting(served, "?model=b") as client:
                assert await sent(client, "x") == "x"
    assert (unnamed["code"], unnamed["type"], unnamed["param"]) == (400, "BadRequestError", "model")
    assert "/v1/realtime?model=" in unnamed["message"]
    assert unknown["code"] == 404
    assert pools.placed == 1


async def test_without_a_key_nobody_gets_in() -> None:
    async with websocket_rank() as rank, serving(FakePools(FakePool(card(rank.url))), api_key=(KEY,)) as served:
        assert error_of(await refusal(connecting(served)))["code"] == 401
        wrong = {"Authorization": "Bearer other"}
        assert error_of(await refusal(connecting(served, additional_headers=wrong)))["code"] == 401
        async with connecting(served, additional_headers={"Authorization": f"Bearer {KEY}"}) as client:
            assert await sent(client, "x") == "x"
    assert len(rank.seen) == 1


async def test_a_page_brings_its_key_as_a_subprotocol_and_gets_one_that_it_offered() -> None:
    offered = ["realtime", f"openai-insecure-api-key.{KEY}", "openai-beta.realtime-v1"]
    async with (
        websocket_rank() as rank,
        serving(FakePools(FakePool(card(rank.url))), api_key=(KEY,), cors_origin=(PAGE,)) as served,
    ):
        async with connecting(served, subprotocols=offered, origin=PAGE) as client:
            assert client.subprotocol == "realtime"
            assert await sent(client, "x") == "x"
        wrong = ["realtime", "openai-insecure-api-key.other"]
        assert (await refusal(connecting(served, subprotocols=wrong, origin=PAGE))).status_code == 401
        (seen,) = rank.seen
        assert seen.request is not None
        assert seen.request.headers["sec-websocket-protocol"] == "realtime, openai-beta.realtime-v1"
        answer = await served.client.get("/v1/models", headers={"sec-websocket-protocol": ", ".join(offered)})
        assert answer.status_code == 401


@pytest.mark.parametrize("origin", ["https://other.example", "null", "http://127.0.0.1:1"])
async def test_pages_of_other_origins_are_not_let_in(origin: str) -> None:
    async with serving(pools := pools_of_nobody(), cors_origin=(PAGE,)) as served:
        assert error_of(await refusal(connecting(served, origin=origin)))["code"] == 403
    assert pools.placed == 0


@pytest.mark.parametrize(("let_in", "origin"), [((), None), (("*",), PAGE), ((PAGE,), PAGE)])
async def test_pages_of_the_gateways_own_host_and_of_those_that_are_named_are_let_in(
    let_in: tuple[str, ...], origin: str | None
) -> None:
    async with (
        websocket_rank() as rank,
        serving(FakePools(FakePool(card(rank.url))), cors_origin=let_in) as served,
        connecting(served, origin=origin or served.url) as client,
    ):
        assert await sent(client, "x") == "x"


@pytest.mark.parametrize("status", [403, 404, 426, 503])
async def test_what_a_rank_answers_instead_of_a_change_is_passed_on(status: int) -> None:
    def refuses(connection: ServerConnection, _: Request) -> Response:
        answer = connection.respond(status, "not here\n")
        answer.headers["X-Of-Rank"] = "yes"
        return answer

    async with (
        websocket_rank(process_request=refuses) as rank,
        serving(FakePools(pool := FakePool(card(rank.url)))) as served,
    ):
        answer = await refusal(connecting(served))
        assert (answer.status_code, answer.content, answer.headers["x-of-rank"]) == (status, b"not here\n", "yes")
        await eventually(lambda: nothing_is_held(served, pool))


async def test_a_rank_that_is_not_there_is_a_502() -> None:
    async with serving(FakePools(pool := FakePool(NOWHERE))) as served:
        assert error_of(await refusal(connecting(served)))["code"] == 502
        await eventually(lambda: nothing_is_held(served, pool))
    assert set(pool.shunned) == {NOWHERE.rank}
    assert set(pool.releases().values()) == {1}


async def test_a_handshake_that_a_rank_fails_of_is_made_with_another() -> None:
    def fails(_: ServerConnection, __: Request) -> Response:
        return Response(503, "Service Unavailable", Headers({"content-length": "0"}), b"")

    async with websocket_rank(process_request=fails) as bad, websocket_rank() as rank:
        pool = FakePool(card(bad.url), NOWHERE, card(rank.url), takes_turns=False)
        async with serving(FakePools(pool)) as served:
            async with connecting(served) as client:
                assert await sent(client, "hello") == "hello"
            await eventually(lambda: nothing_is_held(served, pool))
    assert pool.avoided == [frozenset(), {card(bad.url).rank}, {card(bad.url).rank, NOWHERE.rank}]
    assert pool.releases() == {1: 1, 2: 1, 3: 1}


async def test_a_session_that_has_begun_is_not_begun_elsewhere() -> None:
    async def dies(connection: ServerConnection) -> None:
        reset(connection.transport)

    async with websocket_rank(dies) as rank:
        pool = FakePool(card(rank.url), NOWHERE, takes_turns=False)
        async with serving(FakePools(pool)) as served:
            async with connecting(served) as client:
                with pytest.raises(ConnectionClosed):
                    await client.recv()
            await eventually(lambda: nothing_is_held(served, pool))
    assert len(pool.asked) == 1


async def test_a_rank_says_goodbye_and_its_client_hears_it() -> None:
    async def leaves(connection: ServerConnection) -> None:
        await connection.send("last words")
        await connection.close(4001, "enough")

    async with websocket_rank(leaves) as rank, serving(FakePools(pool := FakePool(card(rank.url)))) as served:
        async with connecting(served) as client:
            assert await client.recv() == "last words"
            with pytest.raises(ConnectionClosed):
                await client.recv()
            assert (client.close_code, client.close_reason) == (4001, "enough")
        await eventually(lambda: nothing_is_held(served, pool))


async def test_when_the_rank_vanishes_its_client_is_disconnected(caplog: pytest.LogCaptureFixture) -> None:
    async def dies(connection: ServerConnection) -> None:
        await connection.recv()
        reset(connection.transport)

    caplog.set_level(logging.INFO)
    async with websocket_rank(dies) as rank, serving(FakePools(pool := FakePool(card(rank.url)))) as served:
        async with connecting(served) as client:
            await client.send("die")
            with pytest.raises(ConnectionClosed):
                await client.recv()
            assert client.close_code == 1006
        await eventually(lambda: nothing_is_held(served, pool))
    (line,) = [json.loads(one.message) for one in caplog.records if one.name == "gateway.access"]
    assert (line["status"], line["error"], line["client_left"]) == (101, "RankFailedError", False)
    assert [one for one in caplog.records if one.levelno >= logging.WARNING] == []


async def test_when_the_client_vanishes_its_rank_is_disconnected_and_nothing_is_held() -> None:
    gone = asyncio.Event()

    async def waits(connection: ServerConnection) -> None:
        await connection.send("here")
        await connection.wait_closed()
        gone.set()

    async with websocket_rank(waits) as rank, serving(FakePools(pool := FakePool(card(rank.url)))) as served:
        for _ in range(5):
            gone.clear()
            client = await connecting(served)
            assert await client.recv() == "here"
            reset(client.transport)
            await asyncio.wait_for(gone.wait(), DEADLINE_S)
            await eventually(lambda: nothing_is_held(served, pool))
    assert set(pool.releases().values()) == {1}
    assert len(pool.releases()) == 5


async def test_a_session_is_counted_and_logged_as_a_request(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with websocket_rank() as rank, serving(FakePools(pool := FakePool(card(rank.url)))) as served:
        async with connecting(served):
            page = (await served.client.get("/metrics")).text
            assert "forebay_gateway_in_flight_requests 2.0" in page  # and the page itself
        await eventually(lambda: nothing_is_held(served, pool))
        page = (await served.client.get("/metrics")).text
    assert 'forebay_gateway_requests_total{pool="sim",route="/v1/realtime",status="101"} 1.0' in page
    (line,) = [json.loads(one.message) for one in caplog.records if one.name == "gateway.access"]
    assert (line["route"], line["status"], line["pool"], line["rank"]) == (REALTIME, 101, "sim", card(rank.url).rank)
    assert (line["error"], line["client_left"]) == ("", False)
    assert [one for one in caplog.records if one.levelno >= logging.WARNING] == []


async def test_at_sigterm_a_session_goes_on_and_is_cut_when_the_time_is_over() -> None:
    async with (
        websocket_rank() as rank,
        serving(FakePools(pool := FakePool(card(rank.url))), drain_s=1.0, lame_duck_ms=0) as served,
        connecting(served) as client,
    ):
        os.kill(os.getpid(), signal.SIGTERM)
        await eventually(lambda: served.gateway.stopping)
        assert await sent(client, "still there") == "still there"
        with pytest.raises(ConnectionClosed):
            await asyncio.wait_for(client.recv(), DEADLINE_S)
        await eventually(lambda: nothing_is_held(served, pool))
        await eventually(lambda: not rank.open_connections)


async def test_a_session_that_ends_by_itself_ends_the_wait_of_a_gateway_that_stops() -> None:
    async with (
        websocket_rank() as rank,
        serving(FakePools(FakePool(card(rank.url))), drain_s=600.0, lame_duck_ms=0) as served,
    ):
        async with connecting(served) as client:
            os.kill(os.getpid(), signal.SIGTERM)
            await eventually(lambda: served.gateway.stopping)
            assert await sent(client, "x") == "x"
        await eventually(lambda: not served.gateway.alive)


async def test_a_session_on_which_nothing_passes_is_ended() -> None:
    async with (
        websocket_rank(ping_interval=None) as rank,
        serving(FakePools(pool := FakePool(card(rank.url))), idle_ms=200) as served,
    ):
        client = await connecting(served, ping_interval=None)
        await asyncio.wait_for(client.wait_closed(), DEADLINE_S)
        assert client.close_code == 1006
        await eventually(lambda: nothing_is_held(served, pool))


@pytest.mark.parametrize("speaker", ["client", "rank"])
async def test_a_session_lives_while_one_side_speaks(speaker: str) -> None:
    said, between_s = 12, 0.2

    async def listens(connection: ServerConnection) -> None:
        for _ in range(said):
            if speaker == "client":
                await connection.recv()
            else:
                await asyncio.sleep(between_s)
                await connection.send("x")
        await connection.send("done")

    async with (
        websocket_rank(listens, ping_interval=None) as rank,
        serving(FakePools(FakePool(card(rank.url))), idle_ms=2_000) as served,
        connecting(served, ping_interval=None) as client,
    ):
        for _ in range(said):
            if speaker == "client":
                await asyncio.sleep(between_s)
                await client.send("x")
            else:
                assert await client.recv() == "x"
        assert await client.recv() == "done"


async def test_a_deadline_of_the_client_ends_its_session() -> None:
    async with websocket_rank() as rank, serving(FakePools(pool := FakePool(card(rank.url)))) as served:
        client = await connecting(served, additional_headers={"x-request-timeout-ms": "300"})
        await asyncio.wait_for(client.wait_closed(), DEADLINE_S)
        await eventually(lambda: nothing_is_held(served, pool))


async def test_a_request_that_offers_no_websocket_is_told_to() -> None:
    async with serving(pools := pools_of_nobody()) as served:
        answer = await served.client.get(f"{REALTIME}?model=sim")
    assert (answer.status_code, answer.headers["upgrade"]) == (426, "websocket")
    checked_error(426, answer.content)
    assert pools.placed == 0
