"""What a client gets through a gateway is what the engine says."""

from __future__ import annotations

import openai
import pytest

from tests.real_engine.asking import CHAT, PATHS, STREAMED, asked, said, text_of_words, without_own
from tests.real_engine.conftest import Told
from tests.real_engine.engine import Engine
from tests.real_engine.stack import Stack


@pytest.mark.parametrize("path", PATHS)
def test_a_whole_answer_is_the_engines_own_byte_for_byte(stack: Stack, plain: Engine, told: Told, path: str) -> None:
    body = asked(path, plain.model, text_of_words(40, seed=3))
    plain.post(path, body)  # from now on the prompt is cached, and every usage says so
    own = plain.post(path, body)
    assert own.status_code == 200
    for gateway in stack.gateways:
        answer = stack.post(gateway, path, body)
        assert answer.headers["x-forebay-decode"] == plain.rank
        assert answer.headers["content-type"] == own.headers["content-type"]
        assert without_own(answer.content) == without_own(own.content)
    told(f"`{said(own.content).text}`: {len(own.content)} bytes, equal but for id and time")


@pytest.mark.parametrize("path", PATHS)
def test_a_stream_says_what_the_engine_says_whole(stack: Stack, plain: Engine, told: Told, path: str) -> None:
    body = asked(path, plain.model, text_of_words(40, seed=4), max_tokens=64)
    whole = said(plain.post(path, body).content)
    own = plain.post(path, body | STREAMED)
    assert said(own.content) == whole
    for gateway in stack.gateways:
        answer = stack.post(gateway, path, body | STREAMED)
        assert answer.headers["content-type"] == own.headers["content-type"]
        assert said(answer.content) == whole
    told(f"64 tokens in {own.content.count(b'data: ')} events from the engine; usage {whole.usage}")


def test_the_openai_client_streams_the_same_text_through_every_gateway(stack: Stack, plain: Engine) -> None:
    own = said(plain.post(CHAT, asked(CHAT, plain.model, "Tell me of turbines.")).content).text
    assert own
    for gateway in stack.gateways:
        with openai.OpenAI(base_url=f"{gateway}/v1", api_key="none", max_retries=0) as client:
            chunks = client.chat.completions.create(
                model=plain.model,
                messages=[{"role": "user", "content": "Tell me of turbines."}],
                max_tokens=16,
                temperature=0,
                stream=True,
                extra_body={"ignore_eos": True},
            )
            assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == own
