"""Which proxies are stood in for: their scripts, what their ranks do, how their KV moves. Pure.

The scripts are vllm-ascend's, under examples/.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

from agent.settings import ConnectorName
from scheduler.messages import Role


class Mode(StrEnum):
    """How a proxy's ranks serve a request."""

    DP = "dp"
    """Each rank whole requests: external data parallelism."""
    PD = "pd"
    """Prefill ranks, from which decode ranks pull KV."""
    LAYERWISE = "layerwise"
    """Prefill ranks that push KV to decode ranks, layer by layer."""
    BUCKET = "bucket"
    """Each rank whole requests; the proxy that is stood in for sorts them by length."""

    @property
    def roles(self) -> tuple[Role, ...]:
        """What its ranks do."""
        return (Role.PREFILL, Role.DECODE) if self.is_of_pairs else (Role.MIXED,)

    @property
    def is_of_pairs(self) -> bool:
        """Whether a prefill and a decode rank serve a request."""
        return self in (Mode.PD, Mode.LAYERWISE)

    @property
    def policy(self) -> str:
        """How ranks are chosen: decode ranks are set up to decode alone, as with a small --max-num-batched-tokens."""
        return "forebay_pairs" if self.is_of_pairs else "forebay"


SCRIPTS: Mapping[str, Mode] = MappingProxyType(
    {
        "dp_load_balance_proxy_server.py": Mode.DP,
        "load_balance_proxy_server_example.py": Mode.PD,
        "load_balance_proxy_layerwise_server_example.py": Mode.LAYERWISE,
        "hybrid_proxy_server.py": Mode.BUCKET,
    }
)
EPD_SCRIPTS = frozenset({"epd_load_balance_proxy_layerwise_server_example.py", "disagg_epd_proxy.py"})
"""Those with encoders of their own."""

KV_CONNECTORS: Mapping[Mode, ConnectorName] = MappingProxyType({Mode.PD: "pull", Mode.LAYERWISE: "mooncake_layerwise"})
"""How KV moves unless --connector says otherwise."""
EPD_FLAGS = frozenset(
    {
        *("--encoder-hosts", "--encoder-ports", "--pd-hosts", "--pd-ports"),
        *("--encode-servers-urls", "--prefill-servers-urls", "--decode-servers-urls", "--encoder-dispatch-mode"),
    }
)
