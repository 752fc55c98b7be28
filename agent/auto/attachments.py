"""What an agent attaches to on a node, from the vLLM servers that were found there. Pure.

Ranks of one model, role, connector and DP group are one group; each group is an agent of its own in the pool.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping

import msgspec

from agent.auto.server import FoundServer, Mode
from agent.errors import FoundServerError, TargetError
from agent.targets import Target, parse_targets
from scheduler.messages import Role

FORGOTTEN_AFTER_S = 60.0
"""A server that ended is watched for so long: it may be restarted, and is reported as down meanwhile."""


class Group(msgspec.Struct, frozen=True):
    """What the ranks of one agent have in common; see FoundServer."""

    model: str
    role: Role
    connector: str
    dp_group: str
    max_num_seqs: int
    api_key: str


class Found(msgspec.Struct, frozen=True):
    """The ports to attach to, by group, and what was left out: why, by process."""

    ports: dict[Group, tuple[Target, ...]]
    left_out: dict[int, str]


def attachments(servers: Iterable[FoundServer], *, rank_host: str, role: Role | None) -> Found:
    """Where to attach to. Gateways reach servers that listen everywhere at `rank_host`.

    `role` is that of servers whose command lines do not tell it; None: they are left out.
    """
    ports: dict[Group, list[Target]] = {}
    left_out: dict[int, str] = {}
    taken: dict[tuple[str, int], int] = {}
    for server in sorted(servers, key=lambda server: server.pid):
        try:
            group = _group(server, role, rank_host)
            targets = _targets(server, rank_host)
            _refuse_taken(targets, taken)
        except FoundServerError as error:
            left_out[server.pid] = str(error)
            continue
        taken |= {target.listener: server.pid for target in targets}
        if targets:
            ports.setdefault(group, []).extend(targets)
    return Found({group: tuple(sorted(targets, key=_by_port)) for group, targets in ports.items()}, left_out)


def still_watched(
    known: Mapping[Target, float], found: Iterable[Target], now_s: float, *, elsewhere: Container[Target] = ()
) -> tuple[dict[Target, float], set[Target]]:
    """When each port of a group was last found, and which are to be forgotten.

    Their servers ended long ago, or came back as another kind, so that they are `elsewhere`, in another group.
    """
    seen = dict(known) | dict.fromkeys(found, now_s)
    forgotten = {
        target for target, since_s in seen.items() if target in elsewhere or now_s - since_s > FORGOTTEN_AFTER_S
    }
    return {target: since_s for target, since_s in seen.items() if target not in forgotten}, forgotten


def _group(server: FoundServer, role: Role | None, rank_host: str) -> Group:
    told = server.role or role
    if told is None:
        raise FoundServerError(
            "its command line does not say whether it prefills or decodes (kv_role is kv_both); give --role"
        )
    connector = "" if told is Role.MIXED else server.connector
    # Nodes whose groups find together at a loopback address have a group each.
    dp_group = f"{rank_host}{server.dp_group}" if server.dp_group.startswith(":") else server.dp_group
    return Group(server.model, told, connector, dp_group, server.max_num_seqs, server.api_key)


def _targets(server: FoundServer, rank_host: str) -> tuple[Target, ...]:
    if server.mode is Mode.HEADLESS:
        return ()  # its engines are behind the endpoint of another node, whose agent finds them there
    host = server.host or rank_host
    shown = f"[{host}]" if ":" in host else host
    scheme = "https://" if server.tls else ""
    try:
        return parse_targets(",".join(f"{scheme}{shown}:{port}" for port in server.ports))
    except TargetError as error:
        raise FoundServerError(str(error)) from None


def _refuse_taken(targets: Iterable[Target], taken: Mapping[tuple[str, int], int]) -> None:
    """A second server on a port is about to end; until then it must not be attached to as if it were another rank."""
    for target in targets:
        if target.listener in taken:
            raise FoundServerError(f"vLLM server {taken[target.listener]} has {target.name} already")


def _by_port(target: Target) -> tuple[int, str]:
    return target.port, target.host
