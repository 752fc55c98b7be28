"""Under which host a rank finds another one that names its own machine as it calls itself. Pure.

A rank that was told no address names a loopback or any-address, which means another machine to everybody else.
"""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

import msgspec
from msgspec import Raw

from scheduler.endpoints import is_local
from scheduler.messages import RankCard

NODES = "remote_multi_nodes_meta_mapping"
"""Where vllm-ascend has the hosts of all workers of a prefill rank, by their ports' distance to its first one."""


def found_by(reader: RankCard, owner: RankCard, params: Raw, hosts: Sequence[str]) -> Raw:
    """One rank's params as the other rank of its pair needs them; `hosts` are all that they name, its workers' last.

    They are the very bytes unless one of these hosts means another machine to the reader.
    """
    host = host_of(owner)
    if not any(map(is_local, hosts)) or is_local(host) or host == host_of(reader):
        return params
    found = Raw(msgspec.json.encode(host))
    fields = msgspec.json.decode(params, type=dict[str, Raw])
    changes = _of_local(fields, "remote_host", found)
    if any(map(is_local, hosts[1:])):
        nodes = msgspec.json.decode(fields[NODES], type=dict[str, dict[str, Raw]])
        changed = {offset: node | _of_local(node, "host", found) for offset, node in nodes.items()}
        changes[NODES] = Raw(msgspec.json.encode(changed))
    return Raw(msgspec.json.encode(fields | changes))


def _of_local(fields: dict[str, Raw], name: str, host: Raw) -> dict[str, Raw]:
    return {name: host} if name in fields and is_local(msgspec.json.decode(fields[name], type=str)) else {}


def host_of(card: RankCard) -> str:
    """The host of a rank's endpoint; empty for an address that is none, where nothing will be sent."""
    try:
        return urlsplit(card.endpoint).hostname or ""
    except ValueError:
        return ""  # an address that is none; nothing will be sent there
