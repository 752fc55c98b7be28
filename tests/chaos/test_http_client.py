"""What a client sees of answers that are none."""

import asyncio

import pytest

from tests.chaos.http_client import ask
from tests.chaos.judging import Ending, judge
from tests.chaos.settings import MODEL
from tests.chaos.workload import request
from tests.ports import HOST

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("answer", "ending", "judgment"),
    [
        (b"", "closed", "lost"),
        (b"banana\r\n\r\n", "garbled", "lost"),
        (HEAD, "closed", "silent"),
        (HEAD + b"zz\r\nbanana", "garbled", "silent"),
    ],
)
async def test_how_an_answer_broke_is_told(answer: bytes, ending: Ending, judgment: str) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(len(asked.body))
        writer.write(answer)
        writer.close()

    asked = next(each for each in (request(1, n, MODEL, tiny=True) for n in range(100)) if each.stream)
    async with await asyncio.start_server(serve, HOST, 0) as server:
        seen = await ask(server.sockets[0].getsockname()[1], asked, 10.0)
    assert (seen.ending, judge(asked, seen).judgment) == (ending, judgment)
