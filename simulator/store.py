"""A store in this process: the very scripts of the ledger, on a dict, under a clock that the caller moves.

Tests in virtual time and property tests drive it; it is exact, deterministic and knows no network. Only what the
scripts call is here. As in Redis, what a script wrote before an error stays.
"""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable, Sequence
from typing import Any

from lupa.lua51 import LuaError, LuaRuntime, lua_type

from scheduler.calls import Call, Reply, Word
from scheduler.error_replies import Meaning, meaning_of
from scheduler.errors import StoreRejectedError, StoreWrongTypeError
from scheduler.lua import Script, source
from simulator.redis_commands import CommandError, RedisCommands, Status, spelt


class VirtualStore:
    """Redis' strings, hashes, sets and sorted sets as far as the scripts use them. `now_ms` is what TIME answers."""

    def __init__(self, now_ms: int = 1_000_000, text_of: Callable[[Script], str] = source) -> None:
        self._commands = RedisCommands(now_ms)
        self._lua = LuaRuntime(encoding=None, unpack_returned_tuples=True)
        self._text_of = text_of
        self._compiled: dict[Script, Any] = {}
        self._make = self._lua.eval(
            b"function(text, call, decode, encode)"
            b" local redis, cjson = {call = call}, {decode = decode, encode = encode}"
            b" local body = assert(loadstring('local redis, cjson, KEYS, ARGV = ... ' .. text))"
            b" return function(keys, argv) return body(redis, cjson, keys, argv) end end"
        )

    @property
    def now_ms(self) -> int:
        """The clock."""
        return self._commands.now_ms

    @now_ms.setter
    def now_ms(self, now_ms: int) -> None:
        self._commands.now_ms = now_ms

    @property
    def data(self) -> dict[bytes, Any]:
        """Values by key; setting it is what a restart or a promotion does."""
        return self._commands.data

    @data.setter
    def data(self, data: dict[bytes, Any]) -> None:
        self._commands.data = data

    def forget(self) -> None:
        """Begin anew, empty."""
        self.data = {}

    async def run(self, calls: Sequence[Call]) -> list[Reply]:
        """See scheduler.store.Store."""
        return [self.call(call) for call in calls]

    async def command(self, *words: Word) -> Reply:
        """See scheduler.store.Store."""
        try:
            reply = self._commands.execute(*map(_wire, words))
        except CommandError as error:
            raise _rejection(error) from error
        return reply.text if isinstance(reply, Status) else reply

    def call(self, call: Call) -> Reply:
        """Runs one script now; raises StoreRejectedError where it fails."""
        body = self._compiled.get(call.script)
        if body is None:
            text = self._text_of(call.script).encode()
            body = self._compiled[call.script] = self._make(text, self._execute, self._decode, self._encode)
        keys, args = (self._lua.table_from([_wire(word) for word in words]) for words in (call.keys, call.args))
        try:
            return _reply(body(keys, args))
        except (CommandError, LuaError) as error:
            raise _rejection(error) from error

    def snapshot(self) -> dict[bytes, Any]:
        """All data as it is now, for a replica that lags."""
        return copy.deepcopy(self.data)

    def _execute(self, *words: Any) -> Any:
        """redis.call."""
        return self._lua_of(self._commands.execute(*map(_argument, words)))

    def _lua_of(self, reply: Any) -> Any:
        if reply is None:
            return False
        if isinstance(reply, Status):
            return self._lua.table_from({b"ok": reply.text})
        if isinstance(reply, list):
            return self._lua.table_from([self._lua_of(item) for item in reply])
        return reply

    def _decode(self, text: bytes) -> Any:
        try:
            return self._lua_of_json(json.loads(text))
        except (ValueError, RecursionError) as error:
            raise CommandError(f"ERR {error}") from error

    def _lua_of_json(self, value: Any) -> Any:
        if isinstance(value, list):
            return self._lua.table_from([self._lua_of_json(item) for item in value])
        if isinstance(value, dict):
            return self._lua.table_from({key.encode(): self._lua_of_json(item) for key, item in value.items()})
        return value.encode() if isinstance(value, str) else value

    def _encode(self, table: Any) -> bytes:
        return json.dumps(_json_of(table), separators=(",", ":")).encode()


def _rejection(error: Exception) -> StoreRejectedError:
    wrong_type = meaning_of(str(error)) is Meaning.WRONG_TYPE
    return (StoreWrongTypeError if wrong_type else StoreRejectedError)(f"Redis answered: {error}")


def _json_of(value: Any) -> Any:
    """An array as cjson encodes it, numbers with 14 significant digits; the scripts encode no objects."""
    if lua_type(value) == "table":
        return [_json_of(item) for item in _items(value)]
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, float) and not math.isfinite(value):
        raise CommandError("ERR Cannot serialise number: must not be NaN or Inf")
    return float(f"{value:.14g}") if isinstance(value, float) else value


def _items(table: Any) -> list[Any]:
    """A table's items from 1 up to the first that is missing."""
    items: list[Any] = []
    while (item := table[len(items) + 1]) is not None:
        items.append(item)
    return items


def _reply(value: Any) -> Reply:
    """A script's value as Redis sends it: floats cut, true as 1, false as None, tables up to their first gap."""
    if value is False or value is None:
        return None
    if isinstance(value, float | bool):
        return int(value)
    if lua_type(value) == "table":
        status = value[b"ok"]
        return [_reply(item) for item in _items(value)] if status is None else status
    return value


def _argument(word: Any) -> bytes:
    """An argument of redis.call as Redis passes it on."""
    if isinstance(word, bytes):
        return word
    if isinstance(word, bool) or not isinstance(word, int | float):
        raise CommandError("ERR Lua redis lib command arguments must be strings or integers")
    return spelt(float(word))


def _wire(word: Word) -> bytes:
    """An argument as the client library sends it."""
    return word if isinstance(word, bytes) else str(word).encode()
