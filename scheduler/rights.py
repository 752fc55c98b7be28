"""What each kind of process may do in Redis: commands, and the keys they are for. Pure.

A script runs with the rights of whoever calls it, and may only be called by who may use all of its KEYS. So a role has
`EVALSHA` and `EVAL` for the keys of its scripts, and each command inside for the keys that it is needed on. Redis 7
keeps these apart (selectors); Redis 6.2 knows one list of commands and one of keys, and any pair of these.

What is not kept apart: whoever may open a pool's epoch (scripts/open.lua, all three) may begin its ledger anew, and an
agent that may report a rank may say of it what it likes, that it is drained too.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import StrEnum
from types import MappingProxyType
from typing import NamedTuple

from scheduler.keys import API_KEYS, API_KEYS_VERSION, POOLS, PREFIX, PoolKeys, gateway_address, limit

ANY_POOL = ""
"""Stands for all pools there are and will be."""

CONNECTING = ("ping", "select", "client|setname", "command", "cluster|slots")
"""What the library asks for itself: a database by its number, and the nodes of a cluster."""
HASH_BYTES = 8
"""Of a block: its key has nothing but their digits, unlike any of the ledger's."""
SCRIPTING = ("time", "eval", "evalsha")

LEDGER = ("head", "gate", "lease", "load", "hist", "group", "change", "seen", "card", "drain", "breaker", "dp", "live")
OPENING = ("del hlen", LEDGER)
"""scripts/open.lua deletes a ledger whose epoch cannot be read."""


OF_KEYS = MappingProxyType(
    {
        "limit": limit("*"),
        "gateway_address": gateway_address("*"),
        "api_keys": API_KEYS,
        "api_keys_version": API_KEYS_VERSION,
    }
)


class ProcessRole(StrEnum):
    """A user of Redis: gateways, agents, and who runs `forebay status`, `drain`, `undrain`, `explain` and `key`."""

    GATEWAY = "gateway"
    AGENT = "agent"
    OPERATOR = "operator"


class Rights(NamedTuple):
    """`scripts`: the keys that scripts are called with; `commands`: words, and the keys they are for."""

    scripts: tuple[str, ...]
    commands: tuple[tuple[str, tuple[str, ...]], ...]


RIGHTS: dict[ProcessRole, Rights] = {
    ProcessRole.GATEWAY: Rights(
        (*LEDGER, "receipts", "blocks", "believed", "limit", "api_keys", "api_keys_version"),
        (
            OPENING,
            ("smembers", ("pools",)),
            ("get set", ("head",)),
            ("hget hset hsetnx hdel hkeys", ("gate",)),
            ("zadd zrem zscore zrangebyscore", ("lease",)),
            ("hget hset hdel hrandfield", ("live",)),
            ("hget hmget hset hdel", ("load",)),
            ("hget hset hdel", ("hist",)),
            ("hmget hincrby", ("group",)),
            ("zadd zcard zrangebyscore", ("change",)),
            ("hget hmget hkeys", ("seen", "card")),
            ("hexists", ("seen",)),
            ("hget", ("drain",)),
            ("hget hmget hset hdel hkeys", ("breaker",)),
            ("mget set", ("blocks", "believed")),
            ("xadd del", ("receipts",)),
            ("get set", ("response", "gateway_address")),
            ("mget set", ("limit",)),
            ("hgetall", ("api_keys",)),
            ("get", ("api_keys_version",)),
        ),
    ),
    ProcessRole.AGENT: Rights(
        (*LEDGER, "believed"),
        (
            OPENING,
            ("sadd", ("pools",)),
            ("get set", ("head",)),
            ("hget hset hdel hkeys", ("gate",)),
            ("zrem zscore zrangebyscore", ("lease",)),
            ("hdel hrandfield", ("live",)),
            ("hget hset hdel", ("load", "hist")),
            ("hincrby", ("group",)),
            ("zadd", ("change",)),
            ("hget hset hdel", ("seen", "card")),
            ("hget hset", ("drain",)),
            ("hget hset hdel", ("dp",)),
            ("mget set", ("believed",)),
        ),
    ),
    ProcessRole.OPERATOR: Rights(
        (*LEDGER, "receipts", "api_keys", "api_keys_version"),
        (
            OPENING,
            ("smembers", ("pools",)),
            ("get set", ("head",)),
            ("hgetall hkeys", ("gate",)),
            ("zscore zrangebyscore", ("lease",)),
            ("hmget", ("load", "card", "breaker")),
            ("zadd zcard zrangebyscore", ("change",)),
            ("hget hmget hset hkeys", ("seen",)),
            ("hget hset", ("drain",)),
            ("hget hset hdel hgetall", ("dp",)),
            ("xrevrange", ("receipts",)),
            ("hget hset hdel hgetall", ("api_keys",)),
            ("get set", ("api_keys_version",)),
        ),
    ),
}


def users(hashes: dict[ProcessRole, str], pools: Sequence[str] = (ANY_POOL,), *, selectors: bool = True) -> str:
    """An ACL file: a line for each role, and one that lets nobody in without a name.

    `hashes`: hex SHA-256 of each role's password. `selectors`: for Redis 7, else for 6.2.
    """
    make = _user_with_selectors if selectors else _user
    lines = [make(f"user {role} on #{hashes[role]}", RIGHTS[role], pools) for role in ProcessRole]
    return "\n".join(("user default off", *lines, ""))


def _user_with_selectors(begin: str, rights: Rights, pools: Sequence[str]) -> str:
    root = (*_words((*CONNECTING, *SCRIPTING)), *_patterns(rights.scripts, pools))
    others = [f"({' '.join((*_words(words.split()), *_patterns(names, pools)))})" for words, names in rights.commands]
    return " ".join((begin, "resetkeys", "resetchannels", "-@all", *root, *others))


def _user(begin: str, rights: Rights, pools: Sequence[str]) -> str:
    words = {word for some, _ in rights.commands for word in some.split()}
    names = dict.fromkeys((*rights.scripts, *(name for _, some in rights.commands for name in some)))
    allowed = _words((*CONNECTING, *SCRIPTING, *sorted(words)))
    return " ".join((begin, "resetkeys", "resetchannels", "-@all", *allowed, *_patterns(names, pools)))


def _words(words: Iterable[str]) -> list[str]:
    return [f"+{word}" for word in words]


def _patterns(names: Iterable[str], pools: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(f"~{_pattern(name, pool)}" for pool in pools for name in names))


def _pattern(name: str, pool: str) -> str:
    """Keys of this name (keys.py) as a glob. Nothing in a pool's name means more there than it says: it is quoted."""
    if name == "pools":
        return POOLS
    if name == "response":
        return f"{PREFIX}:response:*"
    if name in OF_KEYS:
        return OF_KEYS[name]
    keys = PoolKeys(pool or "ANY")
    if name == "live":
        found = keys.live("*")
    elif name == "believed":
        (found,) = keys.believed(["*"])
    elif name == "blocks":
        (block,) = keys.blocks([bytes(HASH_BYTES)])
        found = block.removesuffix(f"/0}}:{bytes(HASH_BYTES).hex()}") + "/*}:" + 2 * HASH_BYTES * "[0-9a-f]"
    else:
        found = getattr(keys, name)
    return found if pool else found.replace("{ANY", "{*")
