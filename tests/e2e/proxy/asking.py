"""Many requests at once to a proxy, and whether each answer is what the simulated model says."""

import asyncio
from collections.abc import Callable, Iterable
from typing import NamedTuple

import openai

from tests.chaos.expected import answer_to

TOKENS = 32


class Answered(NamedTuple):
    """What was said to one prompt, and the ranks that served it."""

    prompt: tuple[int, ...]
    text: str
    ranks: tuple[str, ...]

    @property
    def is_right(self) -> bool:
        return self.text == answer_to(list(self.prompt), TOKENS, ignore_eos=True).text


async def ask(
    url: str, prompts: Iterable[int], *, streams: bool = True, midway: Callable[[], None] | None = None
) -> list[Answered]:
    """A prompt for each number, all at once, every other one a stream; when half are answered, `midway` happens."""
    numbers = list(prompts)
    answered: list[Answered] = []

    async def complete(number: int) -> None:
        prompt = [1000 + number, *range(2000, 2040)]
        answer = await client.completions.with_raw_response.create(
            model="sim",
            prompt=prompt,
            max_tokens=TOKENS,
            temperature=0,
            stream=(streams and number % 2 == 1),
            extra_body={"ignore_eos": True},
            extra_headers={"x-forebay-explain": "1"},
        )
        parsed = answer.parse()
        if isinstance(parsed, openai.AsyncStream):
            text = "".join([chunk.choices[0].text async for chunk in parsed if chunk.choices])
        else:
            text = parsed.choices[0].text
        ranks = tuple(answer.headers[f"x-forebay-{leg}"] for leg in ("prefill", "decode"))
        answered.append(Answered(tuple(prompt), text, ranks))
        if midway is not None and len(answered) == len(numbers) // 2:
            midway()

    async with openai.AsyncOpenAI(
        base_url=f"{url}/v1",
        api_key="none",
        max_retries=0,
        http_client=openai.DefaultAsyncHttpxClient(trust_env=False),
    ) as client:
        await asyncio.gather(*map(complete, numbers))
    return answered
