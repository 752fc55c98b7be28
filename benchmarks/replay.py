"""Replays a Mooncake-format trace against running gateways, through the OpenAI API.

    forebay up --speed 50 --strict
    python -m benchmarks.replay mooncake_conversation.jsonl --redis URL

Ends with 1 on any error, on a rank or gateway that got nothing, if reservations are left over, and if a strict rank saw
its KV misused.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, BinaryIO

import anyio
import click
import httpx
import msgspec
from msgspec import Meta
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks.mooncake import Record, arrivals_s, prompt, read_trace
from benchmarks.replay_report import RESERVATIONS_GONE_WITHIN_S, Report, make_report, report_table
from benchmarks.stream import Answer, stream_chat
from forebay.options import settings_options
from scheduler.admin import Status, status
from scheduler.errors import SchedulerError
from scheduler.messages import RankState
from scheduler.settings import SchedulerSettings
from scheduler.store import Store, open_store

ARRIVALS_SHARE = 0.85
"""Of the time allowed, for the arrivals; the rest is for the last answers."""
PROBE = "four"
ENVIRONMENT_PREFIX = "BENCH_"
"""Not Forebay's own: its commands refuse variables they do not know."""
POLL_S = 0.02


class ReplaySettings(msgspec.Struct, frozen=True, kw_only=True):
    """Where a trace is replayed and how fast."""

    redis: Annotated[str, Meta(min_length=1, description="URL of the shared store")]
    url: Annotated[tuple[str, ...], Meta(min_length=1, description="the gateways, taken in turn")] = (
        "http://127.0.0.1:8000",
        "http://127.0.0.1:8001",
    )
    model: Annotated[str, Meta(description="the model's served name")] = "sim"
    requests: Annotated[int, Meta(ge=1, le=1_000_000, description="how many requests, from the trace's start")] = 500
    max_seconds: Annotated[float, Meta(ge=1, le=86_400, description="for the whole replay")] = 120.0
    speed: Annotated[
        Annotated[float, Meta(ge=0.001, le=1e6)] | None,
        Meta(description="how many times the recorded pace; without it the slowest that fits"),
    ] = None
    json: Annotated[str, Meta(description="a file that gets the numbers too")] = ""


class Sender:
    """Sends every record at its time, to the gateways in turn."""

    def __init__(
        self, settings: ReplaySettings, records: Sequence[Record], client: httpx.AsyncClient, progress: Progress
    ) -> None:
        self._settings, self._records, self._client, self._progress = settings, records, client, progress
        self._bar = progress.add_task("requests", total=len(records))
        self.answers: list[Answer] = []
        self.lags_s: list[float] = []

    async def run(self, at_s: Sequence[float], template_tokens: int) -> float:
        """Send each record `at_s` after the start; returns the seconds to the end of the last answer."""
        settings = self._settings
        bodies = [chat_body(settings.model, record, template_tokens) for record in self._records]
        start_s = time.monotonic()
        async with anyio.create_task_group() as tasks:
            tasks.cancel_scope.deadline = anyio.current_time() + settings.max_seconds
            for index, (body, record) in enumerate(zip(bodies, self._records, strict=True)):
                await anyio.sleep(max(0.0, start_s + at_s[index] - time.monotonic()))
                self.lags_s.append(time.monotonic() - start_s - at_s[index])
                url = settings.url[index % len(settings.url)]
                tasks.start_soon(self._send, url, body, record, name=f"request {index}")
        seconds = time.monotonic() - start_s
        unsent = len(self._records) - len(self.lags_s)
        self.answers += [Answer(sent_s=start_s, error="not sent in time")] * unsent
        return seconds

    async def _send(self, url: str, body: bytes, record: Record) -> None:
        answer = Answer(sent_s=time.monotonic(), error="no answer in time")
        try:
            answer = await stream_chat(self._client, url, body)
        finally:
            if not answer.error:
                answer.error = wrong_length(answer, record)
            self.answers.append(answer)
            self._progress.advance(self._bar)


def chat_body(model: str, record: Record, template_tokens: int) -> bytes:
    """The request's body."""
    content = prompt(record, less_tokens=template_tokens)
    return encoded_chat(model, content, record.output_length)


def encoded_chat(model: str, content: str, max_tokens: int) -> bytes:
    """A streamed chat request that ends only at `max_tokens`."""
    return msgspec.json.encode(
        {
            "model": model,
            "messages": [{"role": "user", "content": content}],
            "max_tokens": max_tokens,
            "ignore_eos": True,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
    )


def wrong_length(answer: Answer, record: Record) -> str:
    """The kind of error if the tokens are not the trace's, else nothing."""
    if answer.prompt_tokens != record.input_length:
        return "prompt of another length"
    return "" if answer.completion_tokens == record.output_length else "answer of another length"


async def template_tokens(client: httpx.AsyncClient, urls: Sequence[str], model: str) -> int:
    """What the chat template adds to one message. Raises click.ClickException for a gateway that does not answer."""
    added = 0
    for url in urls:
        answer = await stream_chat(client, url, encoded_chat(model, PROBE, 1))
        if answer.error:
            raise click.ClickException(f"{url}: {answer.error}")
        added = answer.prompt_tokens - 1
    return added


async def replay_trace(settings: ReplaySettings, records: Sequence[Record], pace: float, console: Console) -> Report:
    """Send everything at `pace` times the recorded pace, then wait for the reservations to be given back."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    at_s = [arrival / pace for arrival in arrivals_s(records)]
    async with (
        open_store(settings.redis) as store,
        httpx.AsyncClient(trust_env=False, timeout=settings.max_seconds, limits=limits) as client,
    ):
        added = await template_tokens(client, settings.url, settings.model)
        with Progress(*columns, console=console) as progress:
            sender = Sender(settings, records, client, progress)
            seconds = await sender.run(at_s, added)
        gone_s = await reservations_gone_s(store)
        found = await status(store, SchedulerSettings())
        ranks = usable_ranks(found, settings.model)
        misuses = await misuses_of(client, ranks)
    return make_report(
        sender.answers,
        lags_s=sender.lags_s,
        seconds=seconds,
        ranks=ranks,
        gateways={
            f"{gateway.gateway}@{gateway.address}" for gateway in found.gateways if gateway.pool == settings.model
        },
        reservations_gone_s=gone_s,
        misuses=misuses,
    )


async def reservations_gone_s(store: Store) -> float | None:
    """Seconds until the ledger was empty; None if it was not in time."""
    start_s = time.monotonic()
    while True:
        left = (await status(store, SchedulerSettings())).reservations
        waited_s = time.monotonic() - start_s
        if waited_s > RESERVATIONS_GONE_WITHIN_S:
            return None
        if left == 0:
            return waited_s
        await anyio.sleep(POLL_S)


def usable_ranks(found: Status, model: str) -> list[str]:
    """The ranks that placement could have chosen."""
    usable = (rank for rank in found.ranks if rank.pool == model and rank.state == RankState.UP)
    return [rank.rank for rank in usable if not rank.drained]


async def misuses_of(client: httpx.AsyncClient, ranks: Iterable[str]) -> int | None:
    """What strict simulated ranks have counted together, KV included that waits for nobody; None if a rank counts
    nothing.
    """
    total = 0
    for rank in ranks:
        answer = await client.get(f"http://{rank.partition('#')[0]}/sim/misuse")
        if answer.status_code != httpx.codes.OK:
            return None
        total += answer.json()["total"] + answer.json()["unclaimed"]
    return total


def chosen_pace(records: Sequence[Record], settings: ReplaySettings) -> float:
    """The speed asked for, else the slowest whose arrivals fit.

    Raises click.BadParameter if the speed asked for does not fit.
    """
    slowest = arrivals_s(records)[-1] / (settings.max_seconds * ARRIVALS_SHARE)
    if settings.speed is not None and settings.speed < slowest:
        raise click.BadParameter(f"does not fit in --max-seconds; {slowest:.2f} does", param_hint="--speed")
    return settings.speed or max(slowest, 1.0)


@click.command()
@click.argument("trace", type=click.File("rb"))
@settings_options(ReplaySettings, prefix=ENVIRONMENT_PREFIX)
def main(settings: ReplaySettings, trace: BinaryIO) -> None:
    """Replay the first requests of TRACE (Mooncake's JSON Lines) against gateways, in turn."""
    try:
        records = read_trace(trace, settings.requests)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="TRACE") from error
    pace = chosen_pace(records, settings)
    console = Console(highlight=False)
    console.print(f"{len(records)} requests at {pace:.2f} x the recorded pace, to {', '.join(settings.url)}")
    try:
        report = anyio.run(replay_trace, settings, records, pace, console)
    except SchedulerError as error:
        raise click.ClickException(str(error)) from error
    console.print(report_table(report))
    if settings.json:
        Path(settings.json).write_bytes(msgspec.json.format(msgspec.json.encode(report)) + b"\n")
    if report.faults:
        raise click.ClickException("; ".join(report.faults))


if __name__ == "__main__":
    main()
