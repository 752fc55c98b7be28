"""The real OpenAI client understands a simulated rank."""

from collections.abc import AsyncIterator, Iterator

import openai
import pytest

from tests.simulator.rank_process import RankProcess, running_rank


@pytest.fixture(scope="module")
def rank() -> Iterator[RankProcess]:
    with running_rank("--speed", "100", "--mean-output-tokens", "40") as process:
        yield process


@pytest.fixture
async def client(rank: RankProcess) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=f"{rank.url}/v1", api_key="none", max_retries=0) as found:
        yield found


async def test_a_chat_is_the_same_streamed_and_whole(client: openai.AsyncOpenAI) -> None:
    whole = await client.chat.completions.create(model="sim", messages=[{"role": "user", "content": "hi"}])
    stream = await client.chat.completions.create(
        model="sim",
        messages=[{"role": "user", "content": "hi"}],
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = [chunk async for chunk in stream]
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == whole.choices[0].message.content
    assert whole.usage is not None
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens


async def test_a_completion_is_the_same_streamed_and_whole(client: openai.AsyncOpenAI) -> None:
    whole = await client.completions.create(model="sim", prompt="once", max_tokens=30)
    stream = await client.completions.create(model="sim", prompt="once", max_tokens=30, stream=True)
    assert "".join([chunk.choices[0].text async for chunk in stream]) == whole.choices[0].text


async def test_models_are_listed(client: openai.AsyncOpenAI) -> None:
    assert [model.id async for model in client.models.list()] == ["sim"]


async def test_an_unknown_model_is_not_found(client: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="does not exist"):
        await client.completions.create(model="nope", prompt="x")
