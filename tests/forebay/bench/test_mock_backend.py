"""The mock backend speaks as vLLM does: to the OpenAI client, to an agent, and in the framing a relay sees."""

import socket
import subprocess
import sys
from collections.abc import Iterator

import httpx
import openai
import pytest

from agent.metrics_page import parse_metrics
from forebay.bench.mock_wire import EVENT_BYTES, MODEL
from forebay.bench.stamps import stamps_in
from tests.ports import free_port

MESSAGES: list[openai.types.chat.ChatCompletionMessageParam] = [{"role": "user", "content": "Hello"}]


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    port = free_port()
    command = [sys.executable, "-m", "forebay", "bench-backend", "--ports", str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert b"ready" in process.stdout.readline()
        yield port
        process.terminate()


@pytest.fixture(scope="module")
def client(port: int) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="none", max_retries=0) as client:
        yield client


def test_a_chat_is_answered_whole(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model=MODEL, messages=MESSAGES, max_tokens=5)
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 5


def test_a_chat_is_streamed_with_a_stamp_in_each_chunk_and_the_usage_last(client: openai.OpenAI) -> None:
    options: openai.types.chat.ChatCompletionStreamOptionsParam = {"include_usage": True}
    stream = client.chat.completions.create(
        model=MODEL, messages=MESSAGES, max_tokens=8, seed=1_000, stream=True, stream_options=options
    )
    *chunks, last = list(stream)
    texts = [chunk.choices[0].delta.content or "" for chunk in chunks]
    stamps = [stamp for text in texts for stamp in stamps_in(text.encode())]
    assert len(stamps) == 8
    assert sorted(stamps) == stamps
    assert chunks[-1].choices[0].finish_reason == "length"
    assert last.usage is not None
    assert last.usage.completion_tokens == 8


def test_a_completion_is_streamed_and_whole(client: openai.OpenAI) -> None:
    assert client.completions.create(model=MODEL, prompt="Hello", max_tokens=3).choices[0].text
    chunks = list(client.completions.create(model=MODEL, prompt="Hello", max_tokens=3, stream=True))
    assert [chunk.choices[0].finish_reason for chunk in chunks] == [None, None, "length"]


def test_models_and_health_and_version(client: openai.OpenAI, port: int) -> None:
    assert [model.id for model in client.models.list()] == [MODEL]
    for path in ("/health", "/version"):
        assert httpx.get(f"http://127.0.0.1:{port}{path}", trust_env=False).is_success


def test_an_agent_reads_its_page(port: int) -> None:
    page = parse_metrics(httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False).content)
    (engine,) = page.engines
    assert engine.running == 0
    assert engine.cache is not None
    assert engine.cache.capacity_tokens == 1_000_000_000


def test_each_chunk_is_one_http_chunk_of_one_event(port: int) -> None:
    body = b'{"stream":true,"max_tokens":3,"messages":[]}'
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(head.encode() + body)
        received = b""
        while not received.endswith(b"0\r\n\r\n"):
            received += connection.recv(65536)
        size = f"{EVENT_BYTES:x}\r\ndata: ".encode()
        assert received.count(size) == 3
        assert received.endswith(b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n")
        connection.sendall(head.encode() + body)
        assert connection.recv(15) == b"HTTP/1.1 200 OK"


@pytest.mark.parametrize("body", [b"{", b'{"max_tokens": -1}', b'{"max_tokens": 100000000}'])
def test_what_it_cannot_do_is_refused(port: int, body: bytes) -> None:
    answer = httpx.post(f"http://127.0.0.1:{port}/v1/completions", content=body, trust_env=False)
    assert answer.status_code == 400


def test_a_port_that_is_taken_is_named_in_one_line(port: int) -> None:
    command = [sys.executable, "-m", "forebay", "bench-backend", "--ports", str(port)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "address already in use" in done.stderr
    assert len(done.stderr.splitlines()) == 1
