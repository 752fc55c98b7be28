"""The schema: every key Forebay keeps in Redis, who writes it, and what is in it. Pure.

All keys of one pool carry the hash tag `{pool}`, so a pool's ledger lies in one slot of a cluster. None of these
expires, so that a Redis with a `volatile-*` policy never evicts one: a dead gateway's reservations are given back
(scripts/reap.lua); ranks whose agent fell silent stay, and what was heard of them ages. The prefix index is no part of
the ledger: its keys carry `{pool/n}`, and expire. Times are pool time in ms (scripts/clock.lua); scripts/rows.lua
spells the rows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from urllib.parse import quote

SCHEMA = 1
"""One more whenever a row or a key is spelled anew (scripts/rows.lua): while processes are exchanged one by one, those
that spell it otherwise keep a ledger of their own, instead of taking each other's rows for junk."""
PREFIX = f"forebay:{SCHEMA}"
PREFIX_SHARDS = 16
"""Slots of a cluster over which a pool's prefix index spreads; prompts that begin alike share one."""
POOLS = f"{PREFIX}:pools"
"""Set of pool names. Agents add, gateways read."""
API_KEYS = f"{PREFIX}:{{api-keys}}:rows"
"""Hash: name -> api_keys.ApiKey as JSON, the key itself as SHA-256 only. Operators write, gateways read."""
API_KEYS_VERSION = f"{PREFIX}:{{api-keys}}:version"
"""String: another one with each change of API_KEYS, so that they are read when they have changed."""


def response_home(response: str) -> str:
    """String: homes.Home as JSON. Gateways; expires. The id may be as long as a client likes, the key may not."""
    return f"{PREFIX}:response:{hashlib.blake2b(response.encode(), digest_size=16).hexdigest()}"


def gateway_address(life: str) -> str:
    """String: where the gateway of this life is reached by others (gateway_addresses.py). Gateways; expires."""
    return f"{PREFIX}:gateway:{life}"


def limit(name: str) -> str:
    """String: what the API key of this name has used (scripts/limit.lua). Gateways; expires a day after its last use:
    later than any block of the prefix index, so that a full Redis does not forget first who has used what.
    """
    return f"{PREFIX}:{{limit:{name}}}:used"


class PoolKeys:
    """The keys of one pool."""

    def __init__(self, pool: str) -> None:
        self._name = quote(pool, safe="-._~/:@")
        self._base = f"{PREFIX}:{{{self._name}}}"
        self.head = f"{self._base}:head"
        """String: epoch, last TIME, pool time, version. Written by every script that writes."""
        self.gate = f"{self._base}:gate"
        """Hash: gateway -> last applied number, count and id sum of its reservations. Gateways."""
        self.lease = f"{self._base}:lease"
        """Sorted set: gateway by the pool time at which its lease ends. Gateways renew."""
        self.load = f"{self._base}:load"
        """Hash: rank and incarnation -> sums over reservations. Scripts that change a reservation."""
        self.hist = f"{self._base}:hist"
        """Hash: rank and incarnation -> the recent past of the load. Scripts that change a reservation."""
        self.group = f"{self._base}:group"
        """Hash: DP group sums. Scripts that change a reservation."""
        self.change = f"{self._base}:change"
        """Sorted set: rank by the version of its last change. All scripts; snapshots read it."""
        self.seen = f"{self._base}:seen"
        """Hash: rank -> what its agent last reported. report.lua; drain.lua sets the drained flag."""
        self.card = f"{self._base}:card"
        """Hash: rank -> messages.RankCard as JSON; "kv .." -> the rank whose card says so (claims.lua). report.lua."""
        self.drain = f"{self._base}:drain"
        """Hash: rank -> how often it was drained and undrained; outlives epochs. drain.lua; report.lua restates it."""
        self.breaker = f"{self._base}:breaker"
        """Hash: rank -> breaker.Breaker as a row; only ranks that failed, or came back, of late. Gateways."""
        self.dp = f"{self._base}:dp"
        """Hash: DP group -> its generation and its members (scripts/dp_group.lua). Agents that launch; operators."""
        self.receipts = f"{self._base}:receipts"
        """Stream: why requests went where they went (receipt.py), the last ones only; outlives epochs. Gateways."""

    def live(self, gateway: str) -> str:
        """Hash: reservation id -> record (scripts/weights.lua), for one gateway under one of its names."""
        return f"{self._base}:live:{gateway}"

    def book(self, live: str) -> tuple[str, ...]:
        """The first eight KEYS of every script that changes a reservation in the set `live`."""
        return (self.head, self.gate, live, self.load, self.hist, self.group, self.change, self.seen)

    def blocks(self, hashes: Sequence[bytes]) -> tuple[str, ...]:
        """Strings: who holds these blocks (scripts/prefix_touch.lua). Gateways; they expire. One chain, one slot."""
        shard = hashes[0][0] % PREFIX_SHARDS
        slot = f"{PREFIX}:{{{self._name}/{shard}}}:"
        return tuple([slot + each.hex() for each in hashes])

    def believed(self, tags: Sequence[str]) -> tuple[str, ...]:
        """Strings: what gateways believed lives of ranks to hold (scripts/prefix_believed.lua), by tag
        (prefix_holders.py). Gateways; they expire. All in one slot.
        """
        return tuple(f"{PREFIX}:{{{self._name}/0}}:believed:{tag}" for tag in tags)

    def of_the_epoch(self) -> tuple[str, ...]:
        """All keys that begin anew with an epoch, `head` first, but for the live sets."""
        return (
            *(self.head, self.gate, self.lease, self.load, self.hist),
            *(self.group, self.change, self.seen, self.card, self.breaker, self.dp),
        )
