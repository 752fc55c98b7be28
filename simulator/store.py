"""A store in this process: the very scripts of the ledger, on a dict, under a clock that the caller moves.

The simulation and the property tests drive it with virtual time; it is exact, deterministic and knows no network. Only
what the scripts call is here. Hash fields keep the order in which they were first set, so HRANDFIELD is not random.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Sequence
from typing import Any

from lupa.lua51 import LuaRuntime, lua_type

from scheduler.errors import StoreRejectedError
from scheduler.lua import Script, source
from scheduler.store import Call, Reply, Word

Hash = dict[bytes, bytes]


class VirtualStore:
    """Redis's strings, hashes and sorted sets as far as the scripts use them. `now_ms` is what TIME answers."""

    def __init__(self, now_ms: int = 1_000_000, text_of: Callable[[Script], str] = source) -> None:
        self.now_ms = now_ms
        self.data: dict[bytes, Any] = {}
        self._lua = LuaRuntime(encoding=None, unpack_returned_tuples=True)
        self._text_of = text_of
        self._compiled: dict[Script, Any] = {}
        self._commands = {
            name.removeprefix("_do_").upper().encode(): getattr(self, name)
            for name in dir(self)
            if name.startswith("_do_")
        }
        self._table = self._lua.eval(b"function(...) return {...} end")
        self._make = self._lua.eval(
            b"function(text, call, decode, encode)"
            b" local redis, cjson = {call = call}, {decode = decode, encode = encode}"
            b" local body = loadstring('local redis, cjson, KEYS, ARGV = ... ' .. text)"
            b" return function(keys, argv) return body(redis, cjson, keys, argv) end end"
        )

    async def run(self, calls: Sequence[Call]) -> list[Reply]:
        """See scheduler.store.Store."""
        return [self.call(call) for call in calls]

    async def command(self, *words: Word) -> Reply:
        """See scheduler.store.Store."""
        if _bytes(words[0]).upper() not in self._commands:
            raise StoreRejectedError(f"no command {words[0]!r}")
        return self._plain(self._execute(*words))

    def call(self, call: Call) -> Reply:
        """Runs one script now."""
        body = self._compiled.get(call.script)
        if body is None:
            text = self._text_of(call.script).encode()
            body = self._compiled[call.script] = self._make(text, self._execute, self._decode, self._encode)
        keys = self._table(*(_bytes(key) for key in call.keys))
        return self._plain(body(keys, self._table(*(_bytes(arg) for arg in call.args))))

    def snapshot(self) -> dict[bytes, Any]:
        """All data as it is now, for a replica that lags."""
        return copy.deepcopy(self.data)

    def _execute(self, name: Word, *args: Word) -> Any:
        return self._commands[_bytes(name).upper()](*(_bytes(arg) for arg in args))

    def _plain(self, value: Any) -> Reply:
        """A Lua reply as Redis sends it: floats cut, false as None, tables as lists."""
        if value is False or value is None:
            return None
        if isinstance(value, float):
            return int(value)
        if lua_type(value) == "table":
            return [self._plain(item) for item in value.values()]
        return value

    def _decode(self, text: bytes) -> Any:
        return self._to_lua(json.loads(text))

    def _to_lua(self, value: Any) -> Any:
        if isinstance(value, list):
            return self._table(*(self._to_lua(item) for item in value))
        if isinstance(value, dict):
            table = self._table()
            for key, item in value.items():
                table[key.encode()] = self._to_lua(item)
            return table
        return value.encode() if isinstance(value, str) else value

    def _encode(self, table: Any) -> bytes:
        return json.dumps(self._to_python(table)).encode()

    def _to_python(self, value: Any) -> Any:
        return [self._to_python(item) for item in value.values()] if lua_type(value) == "table" else value

    # --- the commands -------------------------------------------------------------------------------------------

    def _do_time(self) -> Any:
        return self._table(b"%d" % (self.now_ms // 1000), b"%d" % (self.now_ms % 1000 * 1000))

    def _do_get(self, key: bytes) -> Any:
        return self.data.get(key, False)

    def _do_set(self, key: bytes, value: bytes) -> bytes:
        self.data[key] = value
        return b"OK"

    def _do_del(self, *keys: bytes) -> int:
        return sum(self.data.pop(key, None) is not None for key in keys)

    def _hash(self, key: bytes) -> Hash:
        found: Hash = self.data.setdefault(key, {})
        return found

    def _do_hget(self, key: bytes, field: bytes) -> Any:
        return self._hash(key).get(field, False)

    def _do_hmget(self, key: bytes, *fields: bytes) -> Any:
        found = self._hash(key)
        return self._table(*(found.get(field, False) for field in fields))

    def _do_hset(self, key: bytes, *pairs: bytes) -> int:
        self._hash(key).update(zip(pairs[::2], pairs[1::2], strict=True))
        return len(pairs) // 2

    def _do_hsetnx(self, key: bytes, field: bytes, value: bytes) -> int:
        return int(self._hash(key).setdefault(field, value) is value)

    def _do_hdel(self, key: bytes, *fields: bytes) -> int:
        found = self._hash(key)
        return sum(found.pop(field, None) is not None for field in fields)

    def _do_hexists(self, key: bytes, field: bytes) -> int:
        return int(field in self._hash(key))

    def _do_hlen(self, key: bytes) -> int:
        return len(self._hash(key))

    def _do_hkeys(self, key: bytes) -> Any:
        return self._table(*self._hash(key))

    def _do_hgetall(self, key: bytes) -> Any:
        return self._table(*(part for pair in self._hash(key).items() for part in pair))

    def _do_hincrby(self, key: bytes, field: bytes, by: bytes) -> int:
        total = int(self._hash(key).get(field, b"0")) + int(by)
        self._hash(key)[field] = b"%d" % total
        return total

    def _do_hrandfield(self, key: bytes, count: bytes, _with_values: bytes) -> Any:
        pairs = list(self._hash(key).items())[: int(count)]
        return self._table(*(part for pair in pairs for part in pair))

    def _do_zadd(self, key: bytes, score: bytes, member: bytes) -> int:
        self.data.setdefault(key, {})[member] = float(score)
        return 1

    def _do_zrem(self, key: bytes, member: bytes) -> int:
        return int(self.data.setdefault(key, {}).pop(member, None) is not None)

    def _do_zscore(self, key: bytes, member: bytes) -> Any:
        score = self.data.get(key, {}).get(member)
        return False if score is None else b"%d" % score

    def _do_zrangebyscore(self, key: bytes, low: bytes, high: bytes, *limit: bytes) -> Any:
        within = [
            (score, member)
            for member, score in self.data.get(key, {}).items()
            if _reaches(score, low) and _reaches(-score, _negated(high))
        ]
        members = [member for _, member in sorted(within)]
        return self._table(*(members[int(limit[1]) :][: int(limit[2])] if limit else members))

    def _do_sadd(self, key: bytes, *members: bytes) -> int:
        self.data.setdefault(key, set()).update(members)
        return len(members)

    def _do_smembers(self, key: bytes) -> Any:
        return self._table(*sorted(self.data.get(key, set())))


def _bytes(word: Word) -> bytes:
    """A command's argument as it goes over the wire; whole floats as Lua 5.1 prints them, without a point."""
    if isinstance(word, bytes):
        return word
    if isinstance(word, float) and word.is_integer():
        word = int(word)
    return str(word).encode()


def _reaches(score: float, low: bytes) -> bool:
    return score > float(low[1:]) if low.startswith(b"(") else score >= float(low)


def _negated(bound: bytes) -> bytes:
    opened = bound.startswith(b"(")
    value = -float(bound[1:] if opened else bound)
    return (b"(" if opened else b"") + str(value).encode()
