"""The virtual store answers scripts as redis-server does, the commands that the ledger's scripts use."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import pytest
import redis
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from scheduler.calls import Call, Word
from scheduler.errors import StoreRejectedError
from scheduler.lua import Script
from simulator.store import VirtualStore
from tests.servers import needs_redis, redis_server

RUN_COMMANDS = """
local out, at = {}, 1
while ARGV[at] do
  local words = {}
  for i = 1, tonumber(ARGV[at]) do
    local word = ARGV[at + i]
    words[i] = string.sub(word, 1, 1) == '#' and tonumber(string.sub(word, 2)) or word
    if word == '#true' then words[i] = true end
  end
  local fine, reply = pcall(redis.call, unpack(words))
  out[#out + 1] = fine and {type(reply), reply} or 'error'
  at = at + #words + 1
end
return out
"""
"""Runs commands one after another, errors or not. A word that begins with # is passed as the number it spells."""

Evaluate = Any
"""Runs a script's text with these keys and arguments."""


def virtually(text: str, *args: Word) -> Any:
    """On a store of its own."""
    return VirtualStore(text_of=lambda _: text).call(Call(Script.OPEN, ("k",), args))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[redis.Redis]:
    with redis_server(tmp_path_factory.mktemp("redis")) as running, running.client() as client:
        yield client


def really(server: redis.Redis, text: str, *args: Word) -> Any:
    """On redis-server, emptied first."""
    server.flushall()
    return server.eval(text, 1, "k", *args)


@pytest.fixture(params=["virtual", pytest.param("redis", marks=needs_redis)])
def evaluate(request: pytest.FixtureRequest) -> Evaluate:
    return virtually if request.param == "virtual" else partial(really, request.getfixturevalue("server"))


keys, fields = st.sampled_from([b"a", b"b"]), st.sampled_from([b"f", b"g", b"h", b"", b"\xff"])
numbers = st.sampled_from([b"#1", b"#-3", b"#0", b"#1.5", b"#9007199254740993", b"#-0.25", b"1", b"-7"])
values = numbers | st.sampled_from(
    [
        b"",
        b"x",
        b"9007199254740991",
        b"99999999999999999999",
        b" 1",
        b"+1",
        b"01",
        b"1.5",
        b"-0",
        b"1e3",
        b"1_0",
        b"nan",
        b"\xff\x00",
        b"#true",
    ]
)
scores = numbers | st.sampled_from([b"-inf", b"+inf", b"inf", b"1.5", b"x", b"", b"nan", b"1_0", b" 1", b"#true"])
bounds = numbers | st.sampled_from([b"-inf", b"+inf", b"inf", b"(1", b"(-inf", b"(1.5", b"x", b"[1", b"nan", b"#true"])


def command(name: str, *words: st.SearchStrategy[bytes]) -> st.SearchStrategy[tuple[bytes, ...]]:
    return st.tuples(st.just(name.encode()), *words)


commands = st.one_of(
    command("GET", keys),
    command("SET", keys, values),
    command("SET", keys, values, st.just(b"PX"), st.sampled_from([b"100000", b"#100000"])),
    command("DEL", keys),
    command("DEL", keys, keys),
    *(command(name, keys) for name in ("HLEN", "HKEYS", "HGETALL", "SMEMBERS", "ZCARD")),
    *(command(name, keys, fields) for name in ("HGET", "HMGET", "HDEL", "HEXISTS", "ZSCORE", "ZREM", "SADD")),
    *(command(name, keys, fields, fields) for name in ("HMGET", "HDEL", "SADD", "ZREM")),
    *(command(name, keys, fields, values) for name in ("HSET", "HSETNX", "HINCRBY")),
    command("HSET", keys, fields, values, fields, values),
    command("HSET", keys, fields),
    command("HRANDFIELD", keys, st.just(b"10"), st.just(b"WITHVALUES")),
    command("ZADD", keys, scores, fields),
    command("ZRANGEBYSCORE", keys, bounds, bounds),
    command("ZRANGEBYSCORE", keys, bounds, bounds, st.just(b"LIMIT"), st.just(b"0"), st.sampled_from([b"1", b"100"])),
    command("NOSUCH", keys),
)
UNORDERED = {b"HKEYS", b"HGETALL", b"HRANDFIELD", b"SMEMBERS"}


def comparable(step: Sequence[bytes], reply: Any) -> Any:
    """A reply with what Redis leaves open sorted out: the order of fields and members."""
    if step[0] not in UNORDERED or reply == b"error":
        return reply
    kind, items = reply
    wide = 2 if step[0] in {b"HGETALL", b"HRANDFIELD"} else 1
    return [kind, sorted(items[at : at + wide] for at in range(0, len(items), wide))]


@given(steps=st.lists(commands, min_size=1, max_size=25))
@example(steps=[(b"HGET", b"a", b"f"), (b"SET", b"a", b"x"), (b"HGET", b"a", b"f"), (b"ZSCORE", b"a", b"f")])
@example(steps=[(b"HSET", b"a", b"f", b"1"), (b"HDEL", b"a", b"f"), (b"ZADD", b"a", b"1", b"f"), (b"GET", b"a")])
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_commands_answer_as_those_of_redis(server: redis.Redis, steps: list[tuple[bytes, ...]]) -> None:
    args: list[Word] = []
    for step in steps:
        args += [len(step), *step]
    ours, theirs = virtually(RUN_COMMANDS, *args), really(server, RUN_COMMANDS, *args)
    for step, our, their in zip(steps, ours, theirs, strict=True):
        assert comparable(step, our) == comparable(step, their), step


@pytest.mark.parametrize(
    "text",
    [
        "return {1, 2.9, -2.9, true, false, 'a', {ok = 'fine'}, {}, {{'b'}}}",
        "return {1, nil, 3}",
        "return nil",
        "return redis.call('SET', KEYS[1], 'v')",
        "return {type(redis.call('TIME')[1]), #redis.call('TIME')}",
        "return cjson.encode({1, 2.5, 1 / 3, 'a', false, {0.1 + 0.2}})",
        'return cjson.decode(\'[1,"b",{"c":2.5}]\')[3].c * 2',
        "return {pcall(cjson.decode, '{') and 1 or 0, pcall(cjson.decode, '\\255') and 1 or 0}",
        "return pcall(redis.call) and 1 or 0",
    ],
)
@needs_redis
def test_values_cross_the_border_as_in_redis(server: redis.Redis, text: str) -> None:
    assert virtually(text) == really(server, text)


def test_what_a_script_wrote_before_an_error_stays() -> None:
    for ending in ("redis.call('HGET', KEYS[1], 'f')", "error('no')", "return 1 + nil", "cjson.decode('{')", "x.y = 1"):
        store = VirtualStore(text_of=lambda _, ending=ending: "redis.call('SET', KEYS[1], 'v') " + ending)  # type: ignore[misc]
        with pytest.raises(StoreRejectedError):
            store.call(Call(Script.OPEN, ("k",), ()))
        assert store.data == {b"k": b"v"}


async def test_a_value_goes_when_its_time_has_come() -> None:
    store = VirtualStore(now_ms=1_000)
    await store.command("SET", "a", "v", "PX", 10)
    await store.command("SET", "b", "v", "PX", 10)
    await store.command("SET", "b", "w")
    store.now_ms += 9
    assert await store.command("GET", "a") == b"v"
    store.now_ms += 1
    assert await store.command("GET", "a") is None
    assert store.data == {b"b": b"w"}
    await store.command("SET", "a", "v")
    assert await store.command("GET", "a") == b"v"


MANY = 20_000


def test_a_key_may_have_very_many_members(evaluate: Evaluate) -> None:
    text = """
    for _, name in ipairs(ARGV) do
      redis.call('HSET', KEYS[1] .. 'h', name, name)
      redis.call('ZADD', KEYS[1] .. 'z', name, name)
    end
    local names = redis.call('ZRANGEBYSCORE', KEYS[1] .. 'z', '-inf', '+inf')
    return {#redis.call('HKEYS', KEYS[1] .. 'h'), #redis.call('HGETALL', KEYS[1] .. 'h'),
      #redis.call('HRANDFIELD', KEYS[1] .. 'h', #ARGV, 'WITHVALUES'), #cjson.decode(cjson.encode(names)), names}
    """
    *counts, names = evaluate(text, *range(MANY))
    assert counts == [MANY, 2 * MANY, 2 * MANY, MANY]
    assert names == [b"%d" % number for number in range(MANY)]


def test_a_script_cannot_unpack_very_many(evaluate: Evaluate) -> None:
    assert evaluate("return pcall(function() return {unpack(ARGV)} end) and 1 or 0", *range(MANY)) == 0
