"""The load test's client against servers that answer in many ways: each kind of failure is counted, none hangs."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import pytest

from forebay.load_test.answer import Answer
from forebay.load_test.loading import Load
from forebay.load_test.requests import target
from forebay.load_test.sample import Sample
from forebay.load_test.settings import LoadTestSettings
from forebay.load_test.workload import Planned
from tests.forebay.load_test.bench_command import DONE, ROLE, TEXT, USAGE, bench
from tests.forebay.model_server.scripted_server import Asked, Reply, scripted_server
from tests.polling import until

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
ONE = Planned(0.0, [{"role": "user", "content": "hi"}], 3)


def chunked(*parts: bytes) -> bytes:
    return HEAD + b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


def usage(tokens: bytes) -> bytes:
    return b'data: {"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":%b}}\n\n' % tokens


def plain(status: str, body: bytes = b"") -> bytes:
    return b"HTTP/1.1 %b\r\ncontent-length: %d\r\n\r\n%b" % (status.encode(), len(body), body)


@asynccontextmanager
async def server(answer: Callable[[int], bytes | None]) -> AsyncIterator[str]:
    """Answers the n-th request of a connection with `answer(n)`; None: it closes the connection instead."""

    open_connections: set[asyncio.StreamWriter] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        open_connections.add(writer)
        number = 0
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = next(line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length"))
                await reader.readexactly(int(length.split(b":")[1]))
                content = answer(number)
                if content is None:
                    break
                writer.write(content)
                number += 1
                if b"connection: close" in content:
                    break
        except (asyncio.IncompleteReadError, ConnectionResetError):
            pass
        writer.close()
        open_connections.remove(writer)

    running = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with running:
        yield f"http://127.0.0.1:{running.sockets[0].getsockname()[1]}"
    await until(lambda: not open_connections, "the server has closed all connections")


async def samples(url: str, requests: int = 1, **options: object) -> list[Sample]:
    load = Load(LoadTestSettings(**options), "sim", [target(url, "chat", {})], None)  # type: ignore[arg-type]
    await load.run([ONE] * requests, lambda _: None)
    load.close()
    return load.samples


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        pytest.param(chunked(ROLE, TEXT, TEXT, USAGE, DONE), "", id="whole"),
        pytest.param(chunked(ROLE, TEXT), "a stream without [DONE]", id="no-done"),
        pytest.param(chunked(ROLE, USAGE, DONE), "no text", id="no-text"),
        pytest.param(chunked(TEXT, b'data: {"error": {"message": "x"}}\n\n'), "an error event", id="error-event"),
        pytest.param(chunked(b"data: x\n\n", DONE), "an event that is no JSON of a completion", id="no-json"),
        pytest.param(chunked(TEXT, usage(b"9" * 400), DONE), "an event that is no JSON of a completion", id="too-many"),
        pytest.param(chunked(TEXT, usage(b"-5"), DONE), "an event that is no JSON of a completion", id="below-zero"),
        pytest.param(
            chunked(b'data: {"x":' + b"[" * 100_000 + b"\n\n", DONE),
            "an event that is no JSON of a completion",
            id="nested",
        ),
        pytest.param(plain("429 Too Many Requests", b"{}"), "status 429", id="status"),
        pytest.param(b"nonsense\r\n\r\n", "an answer that is no HTTP", id="no-http"),
        pytest.param(None, "connection lost", id="closed"),
    ],
)
async def test_an_answer_is_whole_or_counts_by_what_is_wrong_with_it(answer: bytes | None, error: str) -> None:
    async with server(lambda _: answer) as url:
        (found,) = await samples(url)
    assert found.error == error
    assert found.end_s >= found.sent_s


async def test_a_connection_that_was_closed_while_idle_is_made_anew() -> None:
    async with server(lambda number: chunked(TEXT, USAGE, DONE) if number == 0 else None) as url:
        found = await samples(url, 3, max_concurrency=1)
    assert [sample.error for sample in found] == ["", "", ""]
    assert {sample.output_tokens for sample in found} == {3}


@pytest.mark.parametrize(("body", "error"), [(TEXT + DONE, ""), (TEXT, "connection lost"), (DONE, "no text")])
async def test_an_answer_may_end_with_its_connection(body: bytes, error: str) -> None:
    head = b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n"
    async with server(lambda number: head + body if number == 0 else None) as url:
        found = await samples(url, 2)
    assert [sample.error for sample in found] == [error] * 2


async def test_silence_and_a_closed_port_are_failures() -> None:
    async with server(lambda _: b"") as url:
        (silent,) = await samples(url, request_timeout_s=0.05)
    (refused,) = await samples("http://127.0.0.1:1")
    assert silent.error == "not over after 0.05 s"
    assert refused.error.startswith("no connection: ")


def test_events_are_read_however_they_are_cut() -> None:
    whole = ROLE + TEXT + TEXT.replace(b"\n", b"\r\n") + USAGE + DONE
    for size in (1, 7, len(whole)):
        answer = Answer()
        for number, start in enumerate(range(0, len(whole), size)):
            answer.feed(whole[start : start + size], float(number))
        assert (answer.texts, answer.prompt_tokens, answer.output_tokens, answer.is_done) == (2, 7, 3, True)
        assert len(answer.gaps_s) == 1


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ("--num-prompts 2", 2, "--num-prompts needs --url"),
        ("--url http://h:1 --rounds 2", 2, "--rounds has no meaning with --url"),
        ("--url h:1", 2, "'--url' (env var: 'FOREBAY_URL')"),
        ("--url http://h:1 --dataset none", 2, "--dataset: none: No such file or directory"),
        ("--url http://h:1 --dataset=", 2, "'--dataset'"),
        ("--plot /tmp", 2, "/tmp: that is a folder"),
        ("--page /tmp", 2, "/tmp: expected a page with the lines"),
        ("--url http://h:1 --json none/x", 2, "none/x: there is no such folder"),
        ("--url http://h:1 --json /tmp", 2, "/tmp: that is a folder"),
        ("--url http://h:1 --plot none/x.svg", 2, "none/x.svg: there is no such folder"),
        ("--url http://h:1 --request-rate -1", 2, "'--request-rate'"),
        ("--url http://127.0.0.1:1", 1, "http://127.0.0.1:1 cannot be reached"),
    ],
)
def test_what_cannot_be_measured_is_refused(arguments: str, code: int, said: str) -> None:
    done = bench(*arguments.split())
    assert done.exit_code == code
    assert said in done.stderr


COUNTED = {"usage": {"prompt_tokens": 5}}


def streaming(asked: Asked, _: int) -> Reply:
    return Reply(body=TEXT + USAGE + DONE if asked.body.get("stream") else COUNTED)


def test_a_variable_with_a_url_alone_makes_no_load_test() -> None:
    with scripted_server(streaming) as made:
        plain = bench(FOREBAY_URL=made.url, FOREBAY_PAGE="none.md")
        with_its_own_option = bench("--page", "none.md", FOREBAY_URL=made.url)
        assert made.posts == []
        asked_for = bench("--num-prompts", "2", "--warmup", "0", FOREBAY_URL=made.url)
        assert asked_for.exit_code == 0, asked_for.output
        assert [asked.body.get("stream", False) for asked in made.posts] == [False, False, True, True]
    for done in (plain, with_its_own_option):
        assert (done.exit_code, "none.md: expected a page with the lines" in done.stderr) == (2, True)


@pytest.mark.parametrize(("rate", "is_told"), [((), False), (("--request-rate", "1000"), True)])
def test_only_requests_that_were_due_can_be_late(rate: tuple[str, ...], is_told: bool) -> None:
    with scripted_server(streaming) as made:
        done = bench("--url", made.url, "--num-prompts", "4", "--warmup", "0", *rate)
    assert done.exit_code == 0, done.output
    assert ("arrivals late by" in done.stdout) == is_told


async def test_who_stands_behind_a_request_that_is_held_is_held_too() -> None:
    both, ended = asyncio.Barrier(2), asyncio.Semaphore(0)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError):
            while head := await reader.readuntil(b"\r\n\r\n"):
                await reader.readexactly(int(head.lower().partition(b"content-length:")[2].split()[0]))
                await both.wait()
                writer.write(chunked(TEXT, USAGE, DONE))
        writer.close()
        ended.release()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as running:
        found = await samples(f"http://127.0.0.1:{running.sockets[0].getsockname()[1]}", 6, max_concurrency=2)
        for _ in range(2):
            await ended.acquire()
    assert [each.error for each in found] == [""] * 6
    assert sum(each.held for each in found) == 4


def test_a_server_that_refuses_the_first_request_is_quoted() -> None:
    with scripted_server(lambda *_: Reply(404, {"error": {"message": "no such model"}})) as made:
        done = bench("--url", made.url, "--model", "x")
    assert done.exit_code == 1
    assert "the first request failed: status 404" in done.stderr
    assert "no such model" in done.stderr


def test_an_error_is_cut_between_letters() -> None:
    words = "请" * 200
    with scripted_server(lambda *_: Reply(400, json.dumps(words, ensure_ascii=False).encode())) as made:
        done = bench("--url", made.url, "--model", "x")
    assert done.exit_code == 1
    assert done.stderr.startswith('Error: the first request failed: status 400: "请请')


@pytest.mark.parametrize("tokens", [-5, 1 << 60, pytest.param(10**400, id="huge")])
def test_a_server_that_counts_what_cannot_be_is_refused(tokens: int) -> None:
    with scripted_server(lambda *_: Reply(body={"usage": {"prompt_tokens": tokens}})) as made:
        done = bench("--url", made.url, "--model", "x")
    assert (done.exit_code, done.stderr.count("\n")) == (1, 1)
    assert "the server does not say how many tokens a prompt has" in done.stderr


def test_a_warm_up_without_an_answer_ends_the_test() -> None:
    with scripted_server(lambda asked, _: Reply(500 if asked.body.get("stream") else 200, COUNTED)) as made:
        done = bench("--url", made.url, "--warmup", "2")
    assert done.exit_code == 1
    assert done.stderr.endswith("Error: every request of the warm-up failed: status 500\n")
