"""A store and a rank to run the agent's loops against: the one records, the other answers by script."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress

from scheduler.errors import SchedulerError
from scheduler.messages import Clash, RankCard, RankReport, ReportReply
from tests.agent.samples import page_bytes
from tests.connections import handling


class RecordingReporter:
    """Keeps what it is told. `fault` is raised instead while set; `refuse` maps ranks to the agent that has them,
    `clash` to what another rank has that they say of themselves.

    `interval_ms` is what it wants between two reports.
    """

    def __init__(self) -> None:
        self.told: list[dict[str, RankReport]] = []
        self.cards: dict[str, RankCard] = {}
        self.fault: SchedulerError | None = None
        self.attempts = 0
        self.refuse: dict[str, str] = {}
        self.clash: dict[str, Clash] = {}
        self.interval_ms = 50
        self.goodbyes = 0

    @property
    def last(self) -> dict[str, RankReport]:
        return self.told[-1] if self.told else {}

    async def report(self, reports: Sequence[RankReport], cards: Mapping[str, RankCard]) -> ReportReply:
        self.attempts += 1
        if self.fault:
            raise self.fault
        self.told.append({report.rank: report for report in reports})
        self.cards |= cards
        refused = {rank: agent for rank, agent in self.refuse.items() if rank in self.last}
        return ReportReply(refused=refused, clashing=self.clash, interval_ms=self.interval_ms)

    async def goodbye(self) -> None:
        if self.fault:
            raise self.fault
        self.goodbyes += 1


class ScriptedRank:
    """A server that answers each path with the bytes in `answers`, after `delay_s`; None hangs, b"" hangs up.

    What `endless` has for a path follows its answer again and again, until the client leaves.
    """

    def __init__(self, answers: dict[str, bytes | None]) -> None:
        self.answers = answers
        self.endless: dict[str, bytes] = {}
        self.delay_s = 0.0
        self.port = 0
        self.asked: list[str] = []
        self.heads: list[str] = []
        self.at_once: Counter[str] = Counter()
        self.most_at_once: Counter[str] = Counter()
        self._hanging: list[asyncio.StreamWriter] = []

    def hang_up(self) -> None:
        """End the answers that hang."""
        while self._hanging:
            self._hanging.pop().transport.abort()

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        path = head.split()[1]
        self.asked.append(path)
        self.heads.append(head)
        self.at_once[path] += 1
        self.most_at_once[path] = max(self.most_at_once[path], self.at_once[path])
        try:
            await asyncio.sleep(self.delay_s)
            answer = self.answers.get(path, http(404))
            if answer is None:
                self._hanging.append(writer)
                await reader.read()
            else:
                writer.write(answer)
                with suppress(ConnectionError):
                    while path in self.endless:
                        writer.write(self.endless[path])
                        await writer.drain()
                        await asyncio.sleep(0)
        finally:
            self.at_once[path] -= 1


@asynccontextmanager
async def scripted_rank(answers: dict[str, bytes | None], port: int = 0) -> AsyncIterator[ScriptedRank]:
    """A scripted rank that listens on `port` of 127.0.0.1 within the block; 0 stands for any free one."""
    rank = ScriptedRank(answers)
    async with handling(rank.answer, port) as rank.port:
        yield rank


def http(status: int, body: bytes = b"", *headers: bytes) -> bytes:
    head = b"".join(header + b"\r\n" for header in (b"content-length: %d" % len(body), *headers))
    return b"HTTP/1.1 %d X\r\n%s\r\n%s" % (status, head, body)


def healthy_answers() -> dict[str, bytes | None]:
    """What a healthy rank of model `tiny` answers."""
    return {
        "/health": http(200),
        "/metrics": http(200, page_bytes("idle")),
        "/version": http(200, b'{"version":"0.32.0"}'),
        "/v1/models": http(200, b'{"object":"list","data":[{"id":"tiny","object":"model","max_model_len":2048}]}'),
        "/v1/completions": http(200, b"{}"),
    }
