"""What `forebay up` starts: names, and the arguments of `forebay` behind each name. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from forebay.ports import LOOPBACK
from forebay.settings import UpSettings
from simulator.settings import RankSettings

DRAIN_S = 2.0
"""The ranks end with their gateways, so there is no use in waiting long for their streams."""

Commands = dict[str, tuple[str, ...]]


def rank_commands(settings: UpSettings, ports: Mapping[str, Sequence[int]]) -> Commands:
    """One simulated rank per port, by role."""
    return {
        f"{role}-{index}": (
            *("rank", "--host", LOOPBACK, "--port", str(port), "--role", role),
            *("--model", settings.model, "--speed", str(settings.speed)),
            "--strict" if settings.strict else "--faithful",
        )
        for role, role_ports in ports.items()
        for index, port in enumerate(role_ports)
    }


def agent_commands(settings: UpSettings, ports: Mapping[str, Sequence[int]]) -> Commands:
    """One agent; where there are several roles, one for each, since an agent's ranks have one role."""
    rank = RankSettings()
    return {
        f"agent-{role}": (
            *("agent", "--node", f"local-{role}", "--model", settings.model, "--role", role),
            *("--ranks", ",".join(f"{LOOPBACK}:{port}" for port in role_ports)),
            *("--max-num-seqs", str(rank.max_num_seqs), "--stat-socket", "off"),
            *("--prefill-tokens-per-s", str(rank.prefill_tokens_per_s * settings.speed)),
        )
        for role, role_ports in ports.items()
    }


def gateway_commands(settings: UpSettings) -> Commands:
    """One gateway per port."""
    return {
        f"gateway-{index}": (
            *("gateway", "--host", LOOPBACK, "--port", str(port)),
            *("--explain", "--pin", "--drain-s", str(DRAIN_S), "--lame-duck-ms", "0", "--policy", settings.policy),
        )
        for index, port in enumerate(settings.gateway_ports)
    }
