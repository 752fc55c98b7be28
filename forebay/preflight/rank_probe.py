"""Asks one rank what preflight has to know of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import anyio
import httpx
import msgspec

from agent.errors import AgentError
from agent.evidence import Answered
from agent.probe import Probe
from agent.settings import AgentSettings
from agent.targets import Target
from forebay.preflight.rank_facts import KvOffer, Named, RankFacts
from gateway.connectors.nixl import ASKS_FOR_KV
from gateway.connectors.nixl_offer import Host, Name, Port
from scheduler.messages import KvAddress, Role

OFFERING = frozenset({"nixl", "nixl_push", "mooncake_pull", "pull"})
"""Connectors whose prefill ranks answer where their KV is. The others must not be asked: a prefill engine of
vllm-ascend's layerwise connector dies of params without `remote_cached_tokens`."""

PROMPT = " ".join(f"preflight {number}" for number in range(64))
"""Long enough to fill blocks of any usual size."""

CONNECT_WITHIN_S = 3.0


class _Offered(msgspec.Struct):
    remote_engine_id: Name
    remote_host: Host
    remote_port: Port


class _Answer(msgspec.Struct):
    kv_transfer_params: dict[str, Any] | None = None


class RankProbe:
    """Asks ranks; `key` is vLLM's --api-key, '' for none."""

    def __init__(self, http: httpx.AsyncClient, key: str, within_s: float) -> None:
        self._http = http
        self._key = key
        self._within_s = within_s

    async def facts(self, named: Named) -> RankFacts:
        """What the rank says of itself, and where it offers KV if it prefills; a fault where it does not answer."""
        target, role, connector, pool, kv = named
        settings = AgentSettings(
            redis="-",
            model="-",
            role=role,
            ranks=target.name,
            rank_api_key=self._key,
            probe_timeout_ms=round(1000 * self._within_s),
        )
        probe = Probe(self._http, target.url, settings)
        evidence = await probe.look()
        if not isinstance(evidence, Answered):
            return RankFacts(target=target, role=role, pool=pool, fault=f"does not answer: {evidence.detail}")
        try:
            about = await probe.describe()
        except AgentError as error:
            return RankFacts(target=target, role=role, pool=pool, fault=str(error))
        cache = evidence.page.engines[0].cache
        if role is Role.PREFILL and not connector:
            connector = await self._shown_connector(target)
        facts = RankFacts(
            target=target,
            role=role,
            pool=pool,
            connector=connector,
            version=about.version,
            models=tuple(sorted(model.id for model in about.models)),
            max_model_len=max((model.max_model_len or 0 for model in about.models), default=0),
            block_size=cache.block_size if cache else 0,
            cache_dtype=cache.dtype if cache else "",
        )
        if kv is not None:
            return msgspec.structs.replace(facts, offer=await _offer_at(kv))
        asks = role is Role.PREFILL and facts.models and facts.connector in OFFERING
        return await self._with_offer(facts) if asks else facts

    async def _shown_connector(self, target: Target) -> str:
        """NIXL shows in the metrics of an engine from its start on; others do not."""
        try:
            page = await self._http.get(f"{target.url}/metrics", timeout=self._within_s)
        except httpx.HTTPError:
            return ""
        return "nixl" if b"\nvllm:nixl_" in page.content else ""

    async def _with_offer(self, facts: RankFacts) -> RankFacts:
        """What a decode rank would be told: a prefill of one small prompt, whose KV nobody fetches."""
        params = msgspec.json.decode(ASKS_FOR_KV)
        asked = {
            "model": facts.models[0],
            "prompt": PROMPT,
            "max_tokens": 1,
            "min_tokens": 1,
            "kv_transfer_params": params,
        }
        try:
            answer = await self._http.post(
                f"{facts.target.url}/v1/completions", json=asked, headers=self._headers(), timeout=self._within_s
            )
            answer.raise_for_status()
            told = msgspec.json.decode(answer.content, type=_Answer).kv_transfer_params
        except (httpx.HTTPError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            return msgspec.structs.replace(facts, no_offer=f"a prefill of {len(PROMPT.split())} words failed: {error}")
        if not told:
            why = "its answer to a prefill has no kv_transfer_params"
            return msgspec.structs.replace(facts, no_offer=why)
        try:
            offered = msgspec.convert(told, _Offered)
        except msgspec.ValidationError as error:
            return msgspec.structs.replace(facts, no_offer=f"its kv_transfer_params are malformed: {error}")
        at = KvAddress(engine_id=offered.remote_engine_id, host=offered.remote_host, port=offered.remote_port)
        return msgspec.structs.replace(facts, offer=await _offer_at(at))

    def _headers(self) -> Mapping[str, str]:
        return {"authorization": f"Bearer {self._key}"} if self._key else {}


async def _offer_at(kv: KvAddress) -> KvOffer:
    """The same with whether this node can connect there; of Mooncake it is the bootstrap server."""
    bootstrap = urlsplit(kv.bootstrap_url)
    host, port = (bootstrap.hostname or "", bootstrap.port or 80) if kv.bootstrap_url else (kv.host, kv.port)
    return KvOffer(engine_id=kv.engine_id, host=host, port=port, reachable=await takes_connections(host, port))


async def takes_connections(host: str, port: int) -> bool:
    """Whether a TCP connection can be had from this node."""
    try:
        with anyio.fail_after(CONNECT_WITHIN_S):
            async with await anyio.connect_tcp(host, port):
                return True
    except (OSError, TimeoutError):
        return False
