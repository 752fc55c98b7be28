"""Forms with an audio file: which pool they are for, and that they pass through while they come."""

import asyncio
import json
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import openai
import pytest

from gateway.upload import LOOK_AHEAD_BYTES
from tests.gateway.fake_pools import NOWHERE, FakePool, FakePools, card, pools_of_nobody
from tests.gateway.form import FORM_TYPE, field, file, form
from tests.gateway.receiving_rank import receiving_rank
from tests.gateway.running import Served, checked_error, error_of, eventually, nothing_is_held, serving
from tests.gateway.scripted_pair import answers
from tests.gateway.scripted_rank import EVENTS, Script, breaks_off, scripted_rank, streams

TRANSCRIPTIONS = "/v1/audio/transcriptions"
MEGABYTE = 1_000_000
AUDIO = b"RIFF" * 1_250_000


def head(length: int | None) -> bytes:
    """The head of an upload; chunked where there is no length."""
    framing = "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}"
    return f"POST {TRANSCRIPTIONS} HTTP/1.1\r\nHost: g\r\nContent-Type: {FORM_TYPE}\r\n{framing}\r\n\r\n".encode()


@asynccontextmanager
async def uploading(served: Served) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    try:
        yield reader, writer
    finally:
        writer.close()


async def answer_of(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """Status and body of what comes."""
    lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    length = next(int(line.partition(":")[2]) for line in lines if line.lower().startswith("content-length"))
    return int(lines[0].split()[1]), await reader.readexactly(length)


async def test_the_rank_has_the_beginning_before_the_client_has_sent_the_end() -> None:
    whole = form(field("model", "sim"), file(AUDIO))
    async with receiving_rank() as rank, serving(FakePools(pool := FakePool(card(rank.url)))) as served:
        async with uploading(served) as (reader, writer):
            writer.write(head(len(whole)) + whole[: 2 * MEGABYTE])
            await eventually(lambda: rank.received_bytes >= 2 * MEGABYTE)
            assert pool.words() == []
            writer.write(whole[2 * MEGABYTE :])
            assert await answer_of(reader) == (200, rank.answer)
        await eventually(lambda: nothing_is_held(served, pool))
    assert (rank.received_bytes, rank.header("content-length")) == (len(whole), str(len(whole)))
    assert pool.words()[0] == "dispatched"


async def test_an_upload_of_unknown_length_is_passed_on_too() -> None:
    whole = form(field("model", "sim"), file(AUDIO))
    async with receiving_rank() as rank, serving(FakePools(pool := FakePool(card(rank.url)))) as served:
        async with uploading(served) as (reader, writer):
            pieces = [whole[start : start + MEGABYTE] for start in range(0, len(whole), MEGABYTE)]
            writer.write(head(None) + b"".join(b"%x\r\n%b\r\n" % (len(one), one) for one in pieces) + b"0\r\n\r\n")
            assert (await answer_of(reader))[0] == 200
        await eventually(lambda: nothing_is_held(served, pool))
    assert (rank.received_bytes, rank.header("content-length")) == (len(whole), None)


async def test_a_rank_that_does_not_read_on_makes_its_client_wait_and_nothing_is_held_in_memory() -> None:
    whole = form(field("model", "sim"), file(bytes(30 * MEGABYTE)))
    async with receiving_rank() as rank, serving(FakePools(pool := FakePool(card(rank.url)))) as served:
        rank.reads_on.clear()
        async with uploading(served) as (reader, writer):
            tracemalloc.start()
            writer.transport.set_write_buffer_limits(high=0)
            sent = 0
            writer.write(head(len(whole)))
            stuck = False
            while sent < len(whole) and not stuck:
                writer.write(whole[sent : sent + 100_000])
                sent += 100_000
                try:
                    await asyncio.wait_for(writer.drain(), 1)
                except TimeoutError:
                    stuck = True
            _, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            assert (stuck, sent < 20 * MEGABYTE, peak < 6 * MEGABYTE) == (True, True, True), (sent, peak)
            rank.reads_on.set()
            writer.write(whole[sent:])
            assert (await answer_of(reader))[0] == 200
        await eventually(lambda: nothing_is_held(served, pool))
    assert rank.received_bytes == len(whole)


async def test_a_client_that_hangs_up_in_its_upload_leaves_nothing() -> None:
    async with receiving_rank() as rank, serving(FakePools(pool := FakePool(card(rank.url)))) as served:
        async with uploading(served) as (_, writer):
            writer.write(head(MEGABYTE) + field("model", "sim") + file(b"x" * 1000))
            await eventually(lambda: rank.received_bytes > 1000)
        await eventually(lambda: rank.open_connections == 0)
        await eventually(lambda: nothing_is_held(served, pool))
    assert pool.releases() == {1: 1}


async def test_a_client_that_stops_sending_is_a_408() -> None:
    async with (
        receiving_rank() as rank,
        serving(FakePools(pool := FakePool(card(rank.url))), client_idle_ms=300) as served,
    ):
        async with uploading(served) as (reader, writer):
            writer.write(head(MEGABYTE) + field("model", "sim") + file(b"x" * 1000))
            assert checked_error(*(await answer_of(reader)))["code"] == 408
        await eventually(lambda: rank.open_connections == 0)
        assert nothing_is_held(served, pool)


async def test_a_client_that_sends_slowly_is_no_fault_of_its_rank() -> None:
    whole = form(field("model", "sim"), file(bytes(4_000)))
    async with (
        receiving_rank() as rank,
        serving(FakePools(pool := FakePool(card(rank.url))), first_byte_ms=2_000) as served,
    ):
        async with uploading(served) as (reader, writer):
            writer.write(head(len(whole)))
            for start in range(0, len(whole), 1_000):
                writer.write(whole[start : start + 1_000])
                await asyncio.sleep(0.6)
            assert await answer_of(reader) == (200, rank.answer)
        await eventually(lambda: nothing_is_held(served, pool))
    assert [well for _, well in pool.heard_of] == [True]


@pytest.mark.parametrize("length", [2000, None])
async def test_an_upload_beyond_the_limit_is_a_413(length: int | None) -> None:
    whole = form(field("model", "sim"), file(b"x" * 1500))
    async with (
        receiving_rank() as rank,
        serving(FakePools(pool := FakePool(card(rank.url))), max_upload_bytes=1000) as served,
    ):
        async with uploading(served) as (reader, writer):
            body = whole if length else b"%x\r\n%b\r\n" % (len(whole), whole)
            writer.write(head(length) + body)
            assert checked_error(*(await answer_of(reader)))["code"] == 413
        await eventually(lambda: rank.open_connections == 0)
        assert nothing_is_held(served, pool)


@pytest.mark.parametrize("sent_bytes", [2000, len(AUDIO)])
@pytest.mark.parametrize("is_chunked", [False, True])
async def test_a_rank_that_answers_before_the_end_is_heard(sent_bytes: int, is_chunked: bool) -> None:
    raw = field("model", "sim") + file(AUDIO[:sent_bytes])
    async with receiving_rank() as rank, serving(FakePools(pool := FakePool(card(rank.url)))) as served:
        rank.answers_after_bytes = 1000
        async with uploading(served) as (reader, writer):
            writer.write(head(None) + b"%x\r\n%b" % (2 * len(raw), raw) if is_chunked else head(2 * len(raw)) + raw)
            assert await answer_of(reader) == (200, rank.answer)
        await eventually(lambda: nothing_is_held(served, pool))
    assert pool.releases() == {1: 1}


async def test_a_length_that_promises_too_much_leaves_nothing() -> None:
    async with receiving_rank() as rank, serving(FakePools(pool := FakePool(card(rank.url)))) as served:
        async with uploading(served) as (_, writer):
            writer.write(head(MEGABYTE) + form(field("model", "sim"), file(b"x")))
            await eventually(lambda: rank.received_bytes > 0)
            writer.write_eof()
            await eventually(lambda: rank.open_connections == 0)
        await eventually(lambda: nothing_is_held(served, pool))
    assert pool.releases() == {1: 1}


async def test_a_length_that_promises_too_little_is_a_400() -> None:
    whole = form(field("model", "sim"), file(b"x" * 1000))
    async with receiving_rank() as rank, serving(FakePools(pool := FakePool(card(rank.url)))) as served:
        async with uploading(served) as (reader, writer):
            writer.write(head(len(whole) - 500) + whole)
            assert checked_error(*(await answer_of(reader)))["code"] == 400
        await eventually(lambda: rank.open_connections == 0)
        await eventually(lambda: nothing_is_held(served, pool))


async def upload(served: Served, *parts: bytes) -> int:
    response = await served.client.post(TRANSCRIPTIONS, content=form(*parts), headers={"content-type": FORM_TYPE})
    return response.status_code


async def test_the_model_chooses_the_pool_before_the_file_or_soon_after_it_begins() -> None:
    async with (
        scripted_rank() as one,
        scripted_rank() as two,
        serving(FakePools(FakePool(card(one.url), name="one"), FakePool(card(two.url), name="two"))) as served,
    ):
        assert await upload(served, field("model", "two"), file(b"x")) == 200
        assert await upload(served, file(b"x" * (LOOK_AHEAD_BYTES // 2)), field("model", "two")) == 200
        assert await upload(served, field("model", "none"), file(b"x")) == 404
    assert (len(one.requests), len(two.requests)) == (0, 2)


async def test_a_model_that_comes_late_or_never_is_a_400_among_several_pools() -> None:
    async with serving(pools := pools_of_nobody("one", "two")) as served:
        for parts in ([file(b"x" * 2 * LOOK_AHEAD_BYTES), field("model", "one")], [file(b"x")]):
            response = await served.client.post(
                TRANSCRIPTIONS, content=form(*parts), headers={"content-type": FORM_TYPE}
            )
            error = error_of(response)
            assert (response.status_code, error["param"]) == (400, "model")
            assert "put it before `file`" in error["message"]
    assert pools.placed == 0


async def test_without_a_model_the_only_pool_is_meant() -> None:
    async with scripted_rank() as rank, serving(FakePools(FakePool(card(rank.url)))) as served:
        assert await upload(served, file(b"x" * 2 * LOOK_AHEAD_BYTES), field("model", "sim")) == 200
        assert await upload(served, file(b"x")) == 200
    assert len(rank.requests) == 2


@pytest.mark.parametrize("content_type", ["application/json", "multipart/form-data"])
async def test_what_is_no_form_is_a_400(content_type: str) -> None:
    async with serving(pools := pools_of_nobody()) as served:
        response = await served.client.post(TRANSCRIPTIONS, content=b"{}", headers={"content-type": content_type})
    assert "multipart/form-data" in error_of(response)["message"]
    assert (response.status_code, pools.placed) == (400, 0)


async def test_an_upload_is_placed_by_its_length() -> None:
    async with scripted_rank() as rank, serving(FakePools(pool := FakePool(card(rank.url)))) as served:
        await upload(served, field("model", "sim"), file(bytes(320_000)))
    assert (pool.asked[0].prompt_tokens, pool.asked[0].output_tokens, pool.asked[0].pairable) == (1000, 256, False)


async def test_an_upload_whose_rank_takes_no_connection_gets_to_another_whole() -> None:
    whole = form(field("model", "sim"), file(AUDIO))
    async with receiving_rank() as rank:
        pool = FakePool(NOWHERE, card(rank.url), takes_turns=False)
        async with serving(FakePools(pool)) as served:
            async with uploading(served) as (reader, writer):
                writer.write(head(len(whole)) + whole)
                assert await answer_of(reader) == (200, rank.answer)
            await eventually(lambda: nothing_is_held(served, pool))
    assert rank.received_bytes == len(whole)
    assert pool.releases() == {1: 1, 2: 1}


@pytest.mark.parametrize("script", [breaks_off, answers(b"{}", "503 Busy")])
async def test_an_upload_of_which_a_rank_has_taken_something_is_not_tried_anew(script: Script) -> None:
    async with scripted_rank(script) as rank, scripted_rank() as other:
        pool = FakePool(card(rank.url), card(other.url), takes_turns=False)
        async with serving(FakePools(pool)) as served:
            assert await upload(served, field("model", "sim"), file(b"x")) in (502, 503)
    assert (len(rank.requests), len(other.requests)) == (1, 0)


async def test_a_transcription_may_be_streamed() -> None:
    async with scripted_rank(streams) as rank, serving(FakePools(pool := FakePool(card(rank.url)))) as served:
        response = await served.client.post(
            TRANSCRIPTIONS, content=form(field("stream", "true"), file(b"x")), headers={"content-type": FORM_TYPE}
        )
    assert response.content == b"".join(EVENTS)
    assert pool.words() == ["dispatched", "first_token", "released"]


async def test_the_openai_client_transcribes_five_megabytes() -> None:
    async with receiving_rank() as rank, serving(FakePools(pool := FakePool(card(rank.url)))) as served:
        async with openai.AsyncOpenAI(base_url=f"{served.url}/v1", api_key="none", max_retries=0) as client:
            found = await client.audio.transcriptions.create(model="sim", file=("a.wav", AUDIO))
            assert found.text == json.loads(rank.answer)["text"]
            assert rank.received_bytes > len(AUDIO)
            with pytest.raises(openai.NotFoundError, match="does not exist"):
                await client.audio.transcriptions.create(model="nope", file=("a.wav", AUDIO))
        await eventually(lambda: nothing_is_held(served, pool))
