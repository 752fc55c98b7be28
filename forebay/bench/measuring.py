"""Measures one case on one target: a load, and what the target's processes spent on it."""

from __future__ import annotations

from collections.abc import Mapping

import anyio
import msgspec

from forebay.bench.errors import TargetError
from forebay.bench.jobs import Job, Outcome, Spread
from forebay.bench.loader import Loader
from forebay.bench.plan import Case, MemoryCase, RequestCase, StreamCase
from forebay.bench.proc import cpu_times, resident_bytes, spent_us
from forebay.bench.slope import slope_us
from forebay.bench.target import Target

STARTS_PER_S = 200.0
"""How fast streams are begun, however many."""
SETTLE_S = 0.1
"""After a load, until the reservations are given back and connections closed."""
MARGIN_S = 30.0
"""How much longer than it should a load may take."""
IDLE_US = 600_000_000
REQUEST_TOKENS = 16

Values = dict[str, float]


class Run(msgspec.Struct, frozen=True):
    """One load: what came of it, and the CPU microseconds of the proxy and of what stands beside it."""

    outcome: Outcome
    cpu_us: float
    beside_us: Mapping[str, float]


async def measure(case: Case, target: Target, loader: Loader) -> Values:
    """The case's values, by name. Raises TargetError when the target fails any request."""
    match case:
        case StreamCase():
            return await _streams(case, target, loader)
        case RequestCase():
            return await _requests(case, target, loader)
        case MemoryCase():
            return await _memory(case, target, loader)


async def _streams(case: StreamCase, target: Target, loader: Loader) -> Values:
    long = await _run(_stream_job(case, case.long_chunks, target), target, case.gateways, loader)
    outcome = long.outcome
    values = _spread("first", outcome.first) | _spread("gap", outcome.gap) | _spread("delay", outcome.delay)
    due_s = case.streams / STARTS_PER_S + (case.long_chunks - 1) / case.rate
    values["late"] = outcome.took_s / due_s
    if target.pids(case.gateways):
        short = await _run(_stream_job(case, case.short_chunks, target), target, case.gateways, loader)
        chunks = short.outcome.chunks, outcome.chunks
        values["chunk_us"] = slope_us(short.cpu_us, long.cpu_us, *chunks)
        values["cores"] = long.cpu_us / 1e6 / outcome.took_s
        for name, long_us in long.beside_us.items():
            values[f"chunk_{name}_us"] = slope_us(short.beside_us[name], long_us, *chunks)
    return values


def _stream_job(case: StreamCase, chunks: int, target: Target) -> Job:
    ramp_s = case.streams / STARTS_PER_S
    return Job(
        addresses=target.addresses(case.gateways),
        connections=case.streams,
        requests=case.streams,
        tokens=chunks,
        body_bytes=case.body_bytes,
        key=target.key,
        streamed=True,
        interval_us=round(1e6 / case.rate),
        ramp_s=ramp_s,
        deadline_s=ramp_s + chunks / case.rate + MARGIN_S,
    )


async def _requests(case: RequestCase, target: Target, loader: Loader) -> Values:
    job = Job(
        addresses=target.addresses(case.gateways),
        connections=case.connections,
        requests=case.requests,
        tokens=REQUEST_TOKENS,
        body_bytes=case.body_bytes,
        key=target.key,
        deadline_s=MARGIN_S + case.requests / 100,
    )
    run = await _run(job, target, case.gateways, loader)
    values = {"requests_per_s": run.outcome.answers / run.outcome.took_s} | _spread("first", run.outcome.first)
    if target.pids(case.gateways):
        values["request_us"] = run.cpu_us / run.outcome.answers
        values["cores"] = run.cpu_us / 1e6 / run.outcome.took_s
        values |= {f"request_{name}_us": us / run.outcome.answers for name, us in run.beside_us.items()}
    return values


async def _memory(case: MemoryCase, target: Target, loader: Loader) -> Values:
    pids = target.pids(case.gateways)
    if not pids:
        return {}
    job = Job(
        addresses=target.addresses(case.gateways),
        connections=case.streams,
        requests=case.streams,
        tokens=2,
        body_bytes=case.body_bytes,
        key=target.key,
        streamed=True,
        interval_us=IDLE_US,
        ramp_s=case.streams / STARTS_PER_S,
        deadline_s=case.streams / STARTS_PER_S + MARGIN_S,
        hold=True,
    )
    before_bytes = resident_bytes(pids)
    await _run(job, target, case.gateways, loader)
    held_bytes = resident_bytes(pids)
    # The next job closes the streams, as clients do who leave.
    await _run(msgspec.structs.replace(job, connections=1, requests=1, interval_us=0, hold=False), target, 1, loader)
    return {"stream_kib": (held_bytes - before_bytes) / case.streams / 1024}


async def _run(job: Job, target: Target, entrances: int, loader: Loader) -> Run:
    roots = {"": target.pids(entrances)} | {name: [child.process.pid] for name, child in target.beside.items()}
    before = {name: cpu_times(pids) for name, pids in roots.items()}
    outcome = await loader.run(job)
    await anyio.sleep(SETTLE_S)
    used_us = {name: spent_us(before[name], cpu_times(pids)) for name, pids in roots.items()}
    if target.ended:
        raise TargetError(target.ended)
    if outcome.errors:
        kinds = ", ".join(f"{count} x {kind}" for kind, count in sorted(outcome.errors.items()))
        raise TargetError(f"of {job.requests} requests failed: {kinds}")
    return Run(outcome, used_us.pop(""), used_us)


def _spread(name: str, times: Spread) -> Values:
    pairs = {f"{name}_p50_ms": times.p50_ms, f"{name}_p99_ms": times.p99_ms}
    return {key: value for key, value in pairs.items() if value is not None}
