"""Under which host a decode rank finds KV whose prefill rank names its own machine as it calls itself. Pure.

A rank that was told no address names a loopback or any-address, which means another machine to everybody else.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address
from urllib.parse import urlsplit

import msgspec
from msgspec import Raw

from scheduler.messages import RankCard

NODES = "remote_multi_nodes_meta_mapping"
"""Where vllm-ascend has the hosts of all workers of a prefill rank, by their ports' distance to its first one."""


def found_by(decode: RankCard, prefill: RankCard, params: Raw, hosts: Sequence[str]) -> Raw:
    """A prefill rank's params as its decode rank needs them; `hosts` are all that they name, its workers' last.

    They are the very bytes unless one of these hosts means another machine to the decode rank.
    """
    host = _host_of(prefill)
    if not any(map(_is_local, hosts)) or _is_local(host) or host == _host_of(decode):
        return params
    found = Raw(msgspec.json.encode(host))
    fields = msgspec.json.decode(params, type=dict[str, Raw])
    changes = _of_local(fields, "remote_host", found)
    if any(map(_is_local, hosts[1:])):
        nodes = msgspec.json.decode(fields[NODES], type=dict[str, dict[str, Raw]])
        changed = {offset: node | _of_local(node, "host", found) for offset, node in nodes.items()}
        changes[NODES] = Raw(msgspec.json.encode(changed))
    return Raw(msgspec.json.encode(fields | changes))


def _of_local(fields: dict[str, Raw], name: str, host: Raw) -> dict[str, Raw]:
    return {name: host} if name in fields and _is_local(msgspec.json.decode(fields[name], type=str)) else {}


def _host_of(card: RankCard) -> str:
    try:
        return urlsplit(card.endpoint).hostname or ""
    except ValueError:
        return ""  # an address that is none; nothing will be sent there


def _is_local(host: str) -> bool:
    """Whether a name means the very host it is used on: loopback, any address, `localhost`."""
    if host.lower() == "localhost":
        return True
    try:
        address = ip_address(host.strip("[]"))
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified
