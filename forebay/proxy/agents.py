"""The settings of a proxy's agents and gateways, from its own. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from agent.settings import AgentSettings, ConnectorName
from agent.targets import Target
from forebay.proxy.modes import KV_CONNECTORS
from forebay.proxy.settings import ProxySettings
from gateway.settings import GatewaySettings
from scheduler.messages import Role

LOOK_MS = 500
LOOK_MS_PER_RANK = 25
"""A look at a rank costs this process some milliseconds, and all of them together no more than a third of its time."""


class Surroundings(msgspec.Struct, frozen=True, kw_only=True):
    """What a proxy finds out before it serves."""

    redis: str
    model: str
    rank_api_key: str
    node: str
    advertise: str

    def pool_of(self, settings: ProxySettings) -> str:
        """The pool that the ranks go to."""
        return settings.pool_name or self.model


def kv_connector(settings: ProxySettings) -> ConnectorName:
    """How KV gets from prefill to decode ranks."""
    return settings.connector if settings.connector != "auto" else KV_CONNECTORS.get(settings.serves_as, "auto")


def agent_settings(
    settings: ProxySettings, role: Role, targets: Sequence[Target], surroundings: Surroundings
) -> AgentSettings:
    """One agent for each role."""
    look_ms = max(LOOK_MS, LOOK_MS_PER_RANK * sum(map(len, settings.targets.values())))
    return AgentSettings(
        redis=surroundings.redis,
        model=surroundings.model,
        pool_name=surroundings.pool_of(settings),
        role=role,
        ranks=",".join(f"{'https://' if target.tls else ''}{target.name}" for target in targets),
        connector=kv_connector(settings),
        node=f"{surroundings.node}-{role}",
        max_num_seqs=settings.max_num_seqs,
        prefill_tokens_per_s=settings.prefill_tokens_per_s,
        rank_api_key=surroundings.rank_api_key,
        scrape_ms=look_ms,
        idle_scrape_ms=max(2 * LOOK_MS, look_ms),
    )


def gateway_settings(settings: ProxySettings, surroundings: Surroundings) -> GatewaySettings:
    """The gateways': they serve one pool, whatever model a request names."""
    return GatewaySettings(
        redis=surroundings.redis,
        host=settings.host,
        port=settings.port,
        advertise=surroundings.advertise,
        api_key=settings.api_key,
        admin_key=settings.admin_key,
        local_admin=True,
        rank_api_key=surroundings.rank_api_key,
        pool_name=surroundings.pool_of(settings),
        request_ttl_s=settings.request_ttl_s,
        drain_s=settings.drain_s,
        # Whoever stops a proxy has nobody else to send its clients to.
        lame_duck_ms=0,
        explain=settings.explain,
        policy=settings.policy or settings.serves_as.policy,
    )
