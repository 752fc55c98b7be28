"""The ledger's scripts on tables that are Lua's own: a store for millions of calls, where nothing is lost or spoilt.

simulator/store.py is the one that can be looked into and broken; both answer alike. Here a script leaves Lua only to
read JSON, and it runs on LuaJIT, which takes two thirds of the time.
"""

from __future__ import annotations

from functools import lru_cache
from importlib.resources import files
from typing import Any

import msgspec
from lupa.luajit21 import LuaRuntime, lua_type

from scheduler.calls import Call, Reply, Word
from scheduler.lua import Script, source

TABLES = ("redis_strings.lua", "redis_tables.lua")
DECODED = 1_024
"""JSON texts that are kept decoded: cards are looked at in each report, and scripts change nothing that they decode."""
SET_PAUSE = "collectgarbage('setpause', 400)"
"""To let garbage grow to four times what is in use takes an eighth less time."""


_RUNNER = """
local text, redis, decode = ...
local cjson, most = {decode = decode}, 4000
local body = assert(loadstring('local redis, cjson, KEYS, ARGV = ... ' .. text))

local function sent(reply)
  if type(reply) == 'table' and #reply < most then return unpack(reply, 0) end
  return reply
end

return function(keys, ...) return sent(body(redis, cjson, keys, {...})) end
"""
"""A script to run over and over. What it answers comes item by item, for Python looks into tables but slowly."""


class MemoryStore:
    """`now_ms` is what TIME answers."""

    def __init__(self, now_ms: int) -> None:
        self._lua = LuaRuntime(unpack_returned_tuples=True)
        self._lua.execute(SET_PAUSE)
        here = files("simulator.cluster")
        self._redis = self._lua.execute("".join(here.joinpath(name).read_text() for name in TABLES))
        self._clock = self._redis["clock"]
        self._decode = lru_cache(DECODED)(self._decoded)
        self._compiled: dict[Script, Any] = {}
        self._keys = lru_cache(DECODED)(self._lua.table_from)
        self._make = self._lua.eval(f"function(...) {_RUNNER} end")
        self.now_ms = now_ms

    @property
    def now_ms(self) -> int:
        """The clock."""
        return int(self._clock["ms"])

    @now_ms.setter
    def now_ms(self, now_ms: int) -> None:
        self._clock["ms"] = now_ms

    def forget(self) -> None:
        """Begin anew, empty."""
        self._redis["call"]("FLUSHALL")

    def call(self, call: Call) -> Reply:
        """Runs one script now."""
        run = self._compiled.get(call.script)
        if run is None:
            run = self._compiled[call.script] = self._make(source(call.script), self._redis, self._decode)
        return _reply(run(self._keys(call.keys), *map(_wire, call.args)))

    def _decoded(self, text: str) -> Any:
        return self._lua.table_from(msgspec.json.decode(text), recursive=True)


def _wire(word: Word) -> str:
    """An argument as a script sees it."""
    if isinstance(word, str):
        return word
    return word.decode() if isinstance(word, bytes) else str(word)


def _reply(value: Any) -> Reply:
    """A script's value as Redis sends it: floats cut, false as None, tables up to their first gap.

    A tuple is what _RUNNER makes of a table, with nothing as its first item.
    """
    if isinstance(value, tuple):
        return [item.encode() if isinstance(item, str) else _reply(item) for item in value[1:]]
    if isinstance(value, str):
        return value.encode()
    if value is False or value is None:
        return None
    if isinstance(value, float | int):
        return int(value)
    assert lua_type(value) == "table"
    items: list[Any] = []
    while (item := value[len(items) + 1]) is not None:
        items.append(item.encode() if isinstance(item, str) else _reply(item))
    return items
