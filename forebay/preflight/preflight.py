"""Runs the checks of one preflight, those of ranks side by side."""

from __future__ import annotations

import logging
import os
import ssl
from collections.abc import Iterator

import anyio

from agent.auto.arguments import Arguments
from agent.auto.config_file import config_of
from agent.auto.processes import server_processes
from agent.auto.server import read_server
from agent.errors import FoundServerError
from agent.probe import open_http
from agent.targets import Target
from forebay.preflight.addresses import own_addresses
from forebay.preflight.finding import Finding, Level
from forebay.preflight.fleet_check import fleet_findings, port_range_findings
from forebay.preflight.known_ranks import known_ranks
from forebay.preflight.links import npu_address_findings, npu_findings, npu_ping_findings, rdma_findings
from forebay.preflight.node_check import port_findings, proxy_findings, run_tool
from forebay.preflight.pair_check import matrix_of
from forebay.preflight.rank_facts import Named, RankFacts
from forebay.preflight.rank_probe import RankProbe
from forebay.preflight.redis_check import redis_findings
from forebay.preflight.report import Report
from forebay.preflight.server_ports import PortRange, ascend_direct_findings, ports_of
from forebay.preflight.settings import PreflightSettings
from scheduler.messages import Role
from scheduler.rank_tls import rank_context
from scheduler.store import open_store

log = logging.getLogger(__name__)

AT_ONCE = 16
"""Ranks that are asked side by side."""
ANYWHERE = "0.0.0.0"  # noqa: S104


async def preflight(settings: PreflightSettings) -> Report:
    """Look at the store, at this node and at the ranks, one after the other. Raises StoreUrlError and TlsFileError."""
    tls = rank_context(settings.rank_ca, settings.rank_cert, settings.rank_key)
    connector = "" if settings.connector == "auto" else settings.connector
    findings, named = [], [Named(target, role, connector) for role in Role for target in settings.targets(role)]
    if settings.redis:
        async with open_store(settings.redis) as store:
            findings += await redis_findings(store)
            if not named:
                named, unread = await known_ranks(store)
                findings += unread
    if not named:
        findings.append(Finding(Level.UNSEEN, "ranks", "none is named, and the store tells of none"))
    hosts = [rank.target.host for rank in named]
    findings += await anyio.to_thread.run_sync(_node_findings, settings, hosts)
    facts = await _all_facts(named, settings, tls)
    findings += fleet_findings(facts)
    findings += [_told(rank) for rank in facts if not rank.fault]
    here = await anyio.to_thread.run_sync(own_addresses, hosts)
    return Report(tuple(findings), matrix_of(facts, here))


def _node_findings(settings: PreflightSettings, hosts: list[str]) -> list[Finding]:
    findings = port_findings(settings.ports_to_be, ANYWHERE)
    findings += proxy_findings(os.environ, hosts)
    ranges = list(_ranges_of_servers())
    findings += port_range_findings(ranges) + ascend_direct_findings(ranges, settings.npus)
    if settings.npus:
        findings += npu_findings(settings.npus, run_tool)
        findings += npu_address_findings(settings.npus, run_tool)
        findings += npu_ping_findings(settings.npus, settings.npu_peer, run_tool)
    return findings + rdma_findings(run_tool)


def _ranges_of_servers() -> Iterator[PortRange]:
    """The ports of the vLLM servers that run on this node."""
    for process in server_processes():
        given = Arguments(process.words)
        try:
            given = given.over(config_of(given, process.folder))
            server = read_server(process.pid, given, process.environment)
            yield from ports_of(f"vLLM {process.pid}", given, process.environment, server.ports)
        except FoundServerError as error:
            log.warning("vLLM server %d is not looked at: %s", process.pid, error)


async def _all_facts(named: list[Named], settings: PreflightSettings, tls: ssl.SSLContext | None) -> list[RankFacts]:
    facts: dict[Target, RankFacts] = {}
    limit = anyio.CapacityLimiter(AT_ONCE)
    async with open_http(tls) as http:
        probe = RankProbe(http, settings.rank_api_key, settings.within_s)

        async def ask(rank: Named) -> None:
            async with limit:
                facts[rank.target] = await probe.facts(rank)

        async with anyio.create_task_group() as tasks:
            for rank in named:
                tasks.start_soon(ask, rank, name=f"preflight of {rank.target.name}")
    return [facts[rank.target] for rank in named]


def _told(rank: RankFacts) -> Finding:
    offers = f", KV at {rank.offer.host} port {rank.offer.port}" if rank.offer else ""
    return Finding(Level.OK, rank.name, f"{rank.role}, vLLM {rank.version}, {', '.join(rank.models)}{offers}")
