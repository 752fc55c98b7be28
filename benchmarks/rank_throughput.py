"""How many SSE chunks a simulated rank sends per second of its own CPU.

    python benchmarks/rank_throughput.py [--streams 200] [--tokens 400] [--step-ms 10]

Starts one rank as a process, opens the streams over loopback and counts chunks; the rank's CPU time is read from its
/metrics before and after. With the defaults 20,000 chunks a second are due for about 4 s. The rank carries the load
if the run takes little longer than due and hardly any tokens were merged; its limit is the chunks per CPU second.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
from asyncio.subprocess import PIPE

import click
import uvloop

_CPU = re.compile(rb"^process_cpu_seconds_total (\S+)", re.MULTILINE)


async def _exchange(port: int, request: bytes) -> tuple[int, bytes]:
    """Send a request, read to the end; the number of events and the last bytes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**20)
    writer.write(request)
    events, kept = 0, b""
    while data := await reader.read(2**18):
        events += data.count(b"data: ")
        kept = kept + data if len(kept) < 2**20 else kept
    writer.close()
    return events, kept


async def _cpu_s(port: int) -> float:
    _, page = await _exchange(port, b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    found = _CPU.search(page)
    assert found
    return float(found[1])


def _request(index: int, tokens: int) -> bytes:
    body = json.dumps({"prompt": f"stream {index}", "max_tokens": tokens, "ignore_eos": True, "stream": True}).encode()
    return (
        b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
    )


async def _measure(port: int, streams: int, tokens: int, step_ms: float) -> None:
    before_s, started_s = await _cpu_s(port), time.monotonic()
    runs = await asyncio.gather(*(_exchange(port, _request(index, tokens)) for index in range(streams)))
    took_s, cpu_s = time.monotonic() - started_s, await _cpu_s(port) - before_s
    chunks = sum(events for events, _ in runs) - streams
    due_s = tokens * step_ms / 1000
    click.echo(f"{chunks} chunks of {streams * tokens} tokens in {took_s:.2f} s (due {due_s:.2f} s)")
    click.echo(f"{chunks / took_s:,.0f} chunks/s; rank's CPU {cpu_s:.2f} s = {cpu_s / took_s:.0%} of a core")
    click.echo(f"{chunks / cpu_s:,.0f} chunks per CPU second = {cpu_s / chunks * 1e6:.1f} us per chunk")


async def _run(streams: int, tokens: int, step_ms: float) -> None:
    options = ["--port", "0", "--max-num-seqs", str(streams), "--decode-ms-per-seq", "0"]
    options += ["--prefill-step-ms", "0", "--decode-step-ms", str(step_ms)]
    rank = await asyncio.create_subprocess_exec(sys.executable, "-m", "forebay", "rank", *options, stdout=PIPE)
    assert rank.stdout
    try:
        line = (await rank.stdout.readline()).decode()
        port = int(line.split("http://127.0.0.1:")[1].split()[0])
        await asyncio.wait_for(_measure(port, streams, tokens, step_ms), timeout=30)
    finally:
        rank.terminate()
        await rank.wait()


@click.command(help=__doc__.splitlines()[0] if __doc__ else None)
@click.option("--streams", default=200, show_default=True)
@click.option("--tokens", default=400, show_default=True)
@click.option("--step-ms", default=10.0, show_default=True)
def _main(streams: int, tokens: int, step_ms: float) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_run(streams, tokens, step_ms))


if __name__ == "__main__":
    _main()
