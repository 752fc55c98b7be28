"""The real OpenAI client speaks the other APIs with a simulated rank."""

import struct
from collections.abc import AsyncIterator, Iterator
from math import isclose

import httpx
import openai
import pytest

from tests.simulator.oracle import right_chat_text
from tests.simulator.rank_process import RankProcess, eventually, running_rank

ASKED = [{"role": "user", "content": "Tell me of turbines."}]
WAV = b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0\x80>\0\0\0}\0\0\x02\0\x10\0data\0\0\0\0" + bytes(range(256)) * 250


@pytest.fixture(scope="module")
def rank() -> Iterator[RankProcess]:
    with running_rank("--speed", "100") as process:
        yield process


@pytest.fixture
async def client(rank: RankProcess) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=f"{rank.url}/v1", api_key="none", max_retries=0) as found:
        yield found


async def test_a_response_is_the_same_streamed_and_whole_and_as_a_chat(client: openai.AsyncOpenAI) -> None:
    more = {"ignore_eos": True}
    whole = await client.responses.create(
        model="sim", input="Tell me of turbines.", max_output_tokens=30, extra_body=more
    )
    stream = await client.responses.create(
        model="sim", input="Tell me of turbines.", max_output_tokens=30, stream=True, extra_body=more
    )
    events = [event async for event in stream]
    text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert text == whole.output_text == right_chat_text(ASKED, 30, ignore_eos=True)
    assert [event.sequence_number for event in events] == list(range(len(events)))
    last = events[-1]
    assert last.type == "response.completed"
    assert last.response.output_text == text
    assert (whole.status, last.response.status) == ("incomplete", "incomplete")
    assert whole.usage is not None
    assert last.response.usage is not None
    assert whole.usage.output_tokens == last.response.usage.output_tokens == 30


async def test_a_response_is_found_again_and_gone_on_from(client: openai.AsyncOpenAI) -> None:
    first = await client.responses.create(model="sim", input="Tell me of turbines.", max_output_tokens=12)
    found = await client.responses.retrieve(first.id)
    assert found.output_text == first.output_text
    more = await client.responses.create(
        model="sim", input="More.", previous_response_id=first.id, instructions="Be brief.", max_output_tokens=12
    )
    talk = [{"role": "system", "content": "Be brief."}, *ASKED]
    talk += [{"role": "assistant", "content": first.output_text}, {"role": "user", "content": "More."}]
    assert more.output_text == right_chat_text(talk, 12)
    with pytest.raises(openai.BadRequestError, match="Cannot cancel a synchronous response"):
        await client.responses.cancel(first.id)


async def test_a_response_that_is_not_stored_is_not_found(client: openai.AsyncOpenAI) -> None:
    made = await client.responses.create(model="sim", input="x", max_output_tokens=2, store=False)
    with pytest.raises(openai.NotFoundError, match="not found"):
        await client.responses.retrieve(made.id)
    with pytest.raises(openai.NotFoundError, match="not found"):
        await client.responses.create(model="sim", input="x", previous_response_id=made.id)


async def test_a_response_in_the_background_completes(client: openai.AsyncOpenAI) -> None:
    made = await client.responses.create(model="sim", input="x", max_output_tokens=5, background=True)
    assert made.status == "queued"
    with openai.OpenAI(base_url=client.base_url, api_key="none") as other:
        eventually(lambda: other.responses.retrieve(made.id).status in ("completed", "incomplete"))
        assert other.responses.retrieve(made.id).output_text == right_chat_text([{"role": "user", "content": "x"}], 5)


async def test_a_response_in_the_background_is_cancelled(client: openai.AsyncOpenAI, rank: RankProcess) -> None:
    made = await client.responses.create(
        model="sim", input="x", max_output_tokens=100_000, background=True, extra_body={"ignore_eos": True}
    )
    assert rank.state()["in_flight"] == 1
    assert (await client.responses.cancel(made.id)).status == "cancelled"
    assert (await client.responses.retrieve(made.id)).status == "cancelled"
    eventually(lambda: rank.state()["in_engine"] == 0)


async def test_a_stream_in_the_background_is_followed_again(client: openai.AsyncOpenAI) -> None:
    stream = await client.responses.create(
        model="sim", input="x", max_output_tokens=5, background=True, stream=True, extra_body={"ignore_eos": True}
    )
    first = [event async for event in stream]
    created = first[0]
    assert created.type == "response.created"
    again = await client.responses.retrieve(created.response.id, stream=True, starting_after=2)
    assert [event async for event in again] == first[3:]


async def test_embeddings_come_as_numbers(client: openai.AsyncOpenAI) -> None:
    one = await client.embeddings.create(model="sim", input="a river runs through it")
    two = await client.embeddings.create(model="sim", input=["a river runs through it", "b"], encoding_format="float")
    assert len(two.data) == 2
    near = zip(one.data[0].embedding, two.data[0].embedding, strict=True)
    assert all(isclose(a, b, abs_tol=1e-6) for a, b in near)
    assert two.data[1].embedding != two.data[0].embedding
    assert isclose(sum(value * value for value in two.data[1].embedding), 1)
    assert (one.usage.prompt_tokens, two.usage.total_tokens) == (6, 7)


async def test_audio_is_transcribed_streamed_and_whole(client: openai.AsyncOpenAI) -> None:
    whole = await client.audio.transcriptions.create(model="sim", file=("speech.wav", WAV))
    again = await client.audio.transcriptions.create(model="sim", file=("other.wav", WAV))
    assert whole.text == again.text != ""
    assert whole.to_dict()["usage"] == {"type": "duration", "seconds": 2}
    async with client.audio.transcriptions.with_streaming_response.create(
        model="sim", file=("speech.wav", WAV), stream=True, extra_body={"stream_include_usage": True}
    ) as streamed:
        lines = [line async for line in streamed.iter_lines() if line]
    assert lines[-1] == "data: [DONE]"
    assert '"prompt_tokens":' in lines[-2]


def test_audio_is_translated(rank: RankProcess) -> None:
    url = f"{rank.url}/v1/audio/translations"
    made = httpx.post(url, data={"model": "sim"}, files={"file": ("speech.wav", WAV)}, trust_env=False).json()
    assert list(made) == ["text"]
    assert made["text"]


def test_the_sound_is_two_seconds() -> None:
    (bytes_per_s,) = struct.unpack("<I", WAV[28:32])
    assert (len(WAV) - 44) / bytes_per_s == 2.0
