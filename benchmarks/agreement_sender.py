"""Sends a workload to real gateways as the simulation does, and notes what becomes of it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from random import Random

import anyio
import httpx
import msgspec

from benchmarks.agreement_fleet import MODEL, RealFleet, http_client
from benchmarks.agreement_workload import body_of
from benchmarks.stream import BadStreamError, events_of
from simulator.cluster.outcome import Outcome
from simulator.cluster.request import SimRequest

MOST_LATE_S = 0.05
"""A request that is sent later than that was not the workload's any more."""


class _Details(msgspec.Struct):
    cached_tokens: int = 0


class _Usage(msgspec.Struct):
    prompt_tokens: int
    completion_tokens: int
    prompt_tokens_details: _Details | None = None


class _Chunk(msgspec.Struct):
    usage: _Usage | None = None


class Sender:
    """Everything of one run; `outcomes` as the simulation's, times from the first arrival."""

    def __init__(self, fleet: RealFleet, requests: Sequence[SimRequest], seed: int) -> None:
        self._fleet, self._requests = fleet, requests
        self._gateway_of = Random(f"{seed}/gateways")
        self.outcomes: list[Outcome] = []
        self.most_late_s = 0.0
        self._begun_s = 0.0

    async def run(self) -> None:
        """Sends each request at its time; returns when all are answered. Raises BadStreamError and httpx.HTTPError."""
        bodies = [body_of(request, MODEL) for request in self._requests]
        async with http_client() as client:
            self._begun_s = time.monotonic()
            async with anyio.create_task_group() as tasks:
                for request, body in zip(self._requests, bodies, strict=True):
                    await anyio.sleep(max(0.0, request.arrival_s - self._now_s()))
                    self.most_late_s = max(self.most_late_s, self._now_s() - request.arrival_s)
                    gateway = self._gateway_of.randrange(len(self._fleet.gateways))
                    tasks.start_soon(self._send, client, request, gateway, body, name=f"request {request.number}")

    def _now_s(self) -> float:
        return time.monotonic() - self._begun_s

    async def _send(self, client: httpx.AsyncClient, request: SimRequest, gateway: int, body: bytes) -> None:
        headers = {"content-type": "application/json", "x-forebay-explain": "1"}
        url, sent_s, first_s, usage = self._fleet.gateways[gateway], self._now_s(), 0.0, None
        async with client.stream("POST", f"{url}/v1/completions", content=body, headers=headers) as response:
            if response.status_code != httpx.codes.OK:
                raise BadStreamError(f"status {response.status_code}: {(await response.aread())[:200]!r}")
            async for event in events_of(response):
                if b'"choices":[]' in event:
                    usage = msgspec.json.decode(event, type=_Chunk).usage
                elif not first_s:
                    first_s = self._now_s()
        if not usage or (usage.prompt_tokens, usage.completion_tokens) != (
            request.prompt_tokens,
            request.output_tokens,
        ):
            raise BadStreamError(f"request {request.number}: usage {usage}")
        legs = (self._fleet.ranks.get(response.headers.get(f"x-forebay-{leg}", "")) for leg in ("prefill", "decode"))
        ranks = [rank for rank in legs if rank]
        details = usage.prompt_tokens_details
        self.outcomes.append(
            Outcome(
                request=msgspec.structs.replace(request, arrival_s=sent_s),
                gateway=gateway,
                prefill_rank=ranks[0],
                decode_rank=ranks[-1],
                placed_s=sent_s,
                first_token_s=first_s,
                finished_s=self._now_s(),
                cached_tokens=details.cached_tokens if details else 0,
            )
        )
