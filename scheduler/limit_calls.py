"""The calls of what concerns API keys, as calls.py has those of the ledger. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from scheduler import keys
from scheduler.calls import Call, Reply
from scheduler.limit_rule import Levels, Limits, Verdict
from scheduler.lua import Script


def limit(
    name: str, gateway: str, lease_ms: int, limits: Limits, running: int, more: Levels, asked_tokens: Sequence[int]
) -> Call:
    """limit.lua; `running` requests of the key called `name` run on the gateway, `more` is what it notes."""
    told = (limits.requests_per_minute, limits.tokens_per_minute, limits.requests_at_once, running)
    return Call(
        Script.LIMIT, (keys.limit(name),), (gateway, lease_ms, *told, more.requests, more.tokens, *asked_tokens)
    )


def limit_answers(reply: Reply) -> list[tuple[Verdict, Levels]]:
    """What limit.lua says to each request that asked."""
    return [(Verdict(reply[i]), Levels(reply[i + 1], reply[i + 2])) for i in range(0, len(reply), 3)]


def api_key_put(name: str, read: bytes, row: bytes, version: str) -> Call:
    """api_key_put.lua."""
    return Call(Script.API_KEY_PUT, (keys.API_KEYS, keys.API_KEYS_VERSION), (name, read, row, version))


def api_keys_read(version: bytes = b"") -> Call:
    """api_keys_read.lua."""
    return Call(Script.API_KEYS_READ, (keys.API_KEYS, keys.API_KEYS_VERSION), (version,))
