"""The options of the commands that live in this package. Pure."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from agent.settings import AgentSettings
from gateway.settings import GatewaySettings, Key
from scheduler.policies import POLICIES
from scheduler.settings import SchedulerSettings


class StoreSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the shared state is."""

    redis: Annotated[str, Meta(min_length=1, description="URL of the shared store")]


class RedisUsersSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What `forebay redis-users` prints."""

    gateway_password: Annotated[str, Meta(description="password of the user `gateway`")] = ""
    agent_password: Annotated[str, Meta(description="password of the user `agent`")] = ""
    operator_password: Annotated[str, Meta(description="password of the user `operator`")] = ""
    pool: Annotated[
        tuple[Annotated[str, Meta(min_length=1)], ...],
        Meta(description="pool that the users are for; all there are and will be unless named"),
    ] = ()
    redis_version: Annotated[
        Literal["7", "6.2"], Meta(description="6.2: coarser, without what only Redis 7 keeps apart")
    ] = "7"


class DrainSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the shared state is, and whether to wait for what a drain leaves."""

    store: StoreSettings
    wait: Annotated[bool, Meta(description="return when the ranks have nothing left, and may be stopped")] = False
    timeout_s: Annotated[
        float,
        Meta(
            ge=0, description="how long to --wait before saying what is left, with exit code 3; 0: as long as it takes"
        ),
    ] = 0.0

    def __post_init__(self) -> None:
        """Raises ValueError naming the field."""
        if self.timeout_s and not self.wait:
            raise ValueError("timeout_s: it is for --wait")


class KeyStoreSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where API keys are."""

    keys: Annotated[str, Meta(description="file of API keys; without it they are in Redis")] = ""
    redis: Annotated[str, Meta(description="URL of the shared store")] = ""

    def __post_init__(self) -> None:
        if not self.keys and not self.redis:
            raise ValueError("keys: API keys are in a file (--keys) or in Redis (--redis); name one of them")


class GatewayCommandSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A gateway's options, and how many processes share its port."""

    gateway: GatewaySettings
    rank_api_key_file: Annotated[str, Meta(description="file with the --rank-api-key")] = ""
    workers: Annotated[
        int, Meta(ge=1, le=256, description="gateway processes on the port; each is a gateway of its own")
    ] = 1

    def __post_init__(self) -> None:
        """Raises ValueError naming the field."""
        if self.workers > 1 and self.gateway.rank_ports:
            raise ValueError("rank_ports: workers share one port; start a gateway with one worker for these")


class AgentCommandSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An agent's options, and where a secret among them may stand."""

    agent: AgentSettings
    rank_api_key_file: Annotated[str, Meta(description="file with the --rank-api-key")] = ""


class UpSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What `forebay up` starts. A gateway's port is `port` plus its index."""

    prefill: Annotated[int, Meta(ge=0, le=256, description="simulated prefill ranks")] = 2
    decode: Annotated[int, Meta(ge=0, le=256, description="simulated decode ranks")] = 2
    mixed: Annotated[int, Meta(ge=0, le=256, description="simulated ranks that prefill and decode")] = 0
    gateways: Annotated[int, Meta(ge=1, le=256, description="gateways, on --port and the ports above it")] = 2
    port: Annotated[int, Meta(ge=1, le=65535, description="the first gateway's port")] = 8000
    model: Annotated[str, Meta(min_length=1, description="the model's served name")] = "sim"
    redis: Annotated[
        str, Meta(description="URL of the shared store; without it redis-server or an embedded server is started")
    ] = ""
    speed: Annotated[float, Meta(ge=0.001, le=1e6, description="divides every simulated time of the ranks")] = 1.0
    strict: Annotated[
        bool, Meta(description="have the ranks count every misuse of their KV, to be read at /sim/misuse")
    ] = False
    policy: Annotated[str, Meta(description=f"how gateways choose ranks: {', '.join(POLICIES)}")] = (
        SchedulerSettings().policy
    )
    api_key: Annotated[
        tuple[Key, ...], Meta(description="key that clients must bring; without any, the models are open")
    ] = ()
    admin_key: Annotated[
        str, Meta(description="key for /admin and for what every rank is sent; without it neither is there")
    ] = ""

    def __post_init__(self) -> None:
        # What a gateway refuses is refused before anything is started.
        GatewaySettings(redis=self.redis, policy=self.policy, api_key=self.api_key, admin_key=self.admin_key)
        if self.gateway_ports[-1] > 65535:
            raise ValueError(f"gateways: the last one would get port {self.gateway_ports[-1]}")
        if self.mixed + self.decode == 0:
            raise ValueError("decode: at least 1 decode or mixed rank is needed; prefill ranks only prefill")

    @property
    def gateway_ports(self) -> range:
        """The gateways' ports."""
        return range(self.port, self.port + self.gateways)

    @property
    def ranks_by_role(self) -> dict[str, int]:
        """How many ranks each role gets; roles without any are left out."""
        counts = {"mixed": self.mixed, "prefill": self.prefill, "decode": self.decode}
        return {role: count for role, count in counts.items() if count}
