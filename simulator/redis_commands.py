"""The commands of Redis that the scripts use, on a dict. Replies are bytes, int, None, `Status` or lists of these.

Differences to Redis 6.2 and later: the fields of a hash keep the order in which they were first set, so HRANDFIELD is
not random; SMEMBERS are sorted; the arguments of SET, HRANDFIELD, ZRANGEBYSCORE, XADD and XREVRANGE are those the
scripts give, and a stream is cut to exactly the length that XADD names. What has expired goes when it is read by GET.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final, NamedTuple

_INTEGER: Final = re.compile(rb"0|-?[1-9][0-9]{0,18}")
_FLOAT: Final = re.compile(rb"(?i)[+-]?(inf(inity)?|\d+\.?\d*(e[+-]?\d+)?|\.\d+(e[+-]?\d+)?)")
_LARGEST: Final = 2**63


class Hash(dict[bytes, bytes]):
    """A hash key's value."""


class SortedSet(dict[bytes, float]):
    """A sorted set key's value: scores by member."""


class Stream(list[tuple[int, int, list[bytes]]]):
    """A stream key's value: ms, number and fields of each entry, the oldest first."""


class Status(NamedTuple):
    """A status reply, such as OK."""

    text: bytes


class CommandError(Exception):
    """An error reply; the message begins with Redis' code."""


class RedisCommands:
    """One database: `data` by key, no key empty. `now_ms` is what TIME answers."""

    def __init__(self, now_ms: int) -> None:
        self.now_ms = now_ms
        self.data: dict[bytes, Any] = {}
        self._ends_ms: dict[bytes, int] = {}
        self._commands: dict[bytes, Callable[..., Any]] = {
            name.removeprefix("_do_").upper().encode(): getattr(self, name)
            for name in dir(self)
            if name.startswith("_do_")
        }

    def execute(self, name: bytes, *args: bytes) -> Any:
        """Runs one command; raises CommandError."""
        command = self._commands.get(name.upper())
        if command is None:
            raise CommandError(f"ERR unknown command {name!r}")
        return command(*args)

    def _found(self, key: bytes, kind: type[Any]) -> Any:
        """What is at a key, an empty value that is not kept where nothing is; of another kind it is an error."""
        found = self.data.get(key)
        if found is None:
            return kind()
        if not isinstance(found, kind):
            raise CommandError("WRONGTYPE Operation against a key holding the wrong kind of value")
        return found

    def _keep(self, key: bytes, value: Any) -> None:
        if value:
            self.data[key] = value
        else:
            self.data.pop(key, None)

    def _do_time(self) -> list[bytes]:
        return [b"%d" % (self.now_ms // 1000), b"%d" % (self.now_ms % 1000 * 1000)]

    def _do_get(self, key: bytes) -> bytes | None:
        self._found(key, bytes)
        if self._ends_ms.get(key, self.now_ms + 1) <= self.now_ms:
            self._do_del(key)
        return self.data.get(key)

    def _do_mget(self, *keys: bytes) -> list[bytes | None]:
        return [self._do_get(key) if isinstance(self.data.get(key), bytes) else None for key in keys]

    def _do_set(self, key: bytes, value: bytes, *px: bytes) -> Status:
        self.data[key] = value
        self._ends_ms.pop(key, None)
        if px:
            self._ends_ms[key] = self.now_ms + _integer(px[1], "ERR value is not an integer or out of range")
        return Status(b"OK")

    def _do_del(self, *keys: bytes) -> int:
        return sum(self.data.pop(key, None) is not None for key in keys)

    def _do_hget(self, key: bytes, field: bytes) -> bytes | None:
        found: Hash = self._found(key, Hash)
        return found.get(field)

    def _do_hmget(self, key: bytes, *fields: bytes) -> list[bytes | None]:
        found = self._found(key, Hash)
        return [found.get(field) for field in fields]

    def _do_hset(self, key: bytes, *pairs: bytes) -> int:
        if not pairs or len(pairs) % 2:
            raise CommandError("ERR wrong number of arguments for 'hset' command")
        found = self._found(key, Hash)
        before = len(found)
        found.update(zip(pairs[::2], pairs[1::2], strict=True))
        self._keep(key, found)
        return len(found) - before

    def _do_hsetnx(self, key: bytes, field: bytes, value: bytes) -> int:
        return 0 if field in self._found(key, Hash) else self._do_hset(key, field, value)

    def _do_hdel(self, key: bytes, *fields: bytes) -> int:
        found = self._found(key, Hash)
        gone = sum(found.pop(field, None) is not None for field in fields)
        self._keep(key, found)
        return gone

    def _do_hexists(self, key: bytes, field: bytes) -> int:
        return int(field in self._found(key, Hash))

    def _do_hlen(self, key: bytes) -> int:
        return len(self._found(key, Hash))

    def _do_hkeys(self, key: bytes) -> list[bytes]:
        return list(self._found(key, Hash))

    def _do_hgetall(self, key: bytes) -> list[bytes]:
        return [part for pair in self._found(key, Hash).items() for part in pair]

    def _do_hincrby(self, key: bytes, field: bytes, by: bytes) -> int:
        more = _integer(by, "ERR value is not an integer or out of range")
        found = self._found(key, Hash)
        total = _integer(found.get(field, b"0"), "ERR hash value is not an integer") + more
        if not -_LARGEST <= total < _LARGEST:
            raise CommandError("ERR increment or decrement would overflow")
        self._do_hset(key, field, b"%d" % total)
        return total

    def _do_hrandfield(self, key: bytes, count: bytes, _with_values: bytes) -> list[bytes]:
        return self._do_hgetall(key)[: 2 * _integer(count, "ERR value is not an integer or out of range")]

    def _do_zadd(self, key: bytes, *pairs: bytes) -> int:
        scores = [_float(score, "ERR value is not a valid float") for score in pairs[::2]]
        found = self._found(key, SortedSet)
        before = len(found)
        found.update(zip(pairs[1::2], scores, strict=True))
        self._keep(key, found)
        return len(found) - before

    def _do_zrem(self, key: bytes, *members: bytes) -> int:
        found = self._found(key, SortedSet)
        gone = sum(found.pop(member, None) is not None for member in members)
        self._keep(key, found)
        return gone

    def _do_zcard(self, key: bytes) -> int:
        return len(self._found(key, SortedSet))

    def _do_zscore(self, key: bytes, member: bytes) -> bytes | None:
        score = self._found(key, SortedSet).get(member)
        return None if score is None else spelt(score)

    def _do_zrangebyscore(self, key: bytes, low: bytes, high: bytes, *limit: bytes) -> list[bytes]:
        least, most = _bound(low), _bound(high)
        found: SortedSet = self._found(key, SortedSet)
        within = sorted((score, member) for member, score in found.items() if _lies(score, least, most))
        members = [member for _, member in within]
        return members[int(limit[1]) :][: int(limit[2])] if limit else members

    def _do_sadd(self, key: bytes, *members: bytes) -> int:
        found = self._found(key, set)
        before = len(found)
        found.update(members)
        self._keep(key, found)
        return len(found) - before

    def _do_xadd(self, key: bytes, *args: bytes) -> bytes:
        """`MAXLEN ~ most * field value ...`."""
        most, fields = _integer(args[2], "ERR value is not an integer or out of range"), list(args[4:])
        if not fields or len(fields) % 2:
            raise CommandError("ERR wrong number of arguments for 'xadd' command")
        found = self._found(key, Stream)
        last_ms, last_number = found[-1][:2] if found else (0, 0)
        ms = max(last_ms, self.now_ms)
        number = last_number + 1 if ms == last_ms else 0
        found.append((ms, number, fields))
        del found[: max(0, len(found) - most)]
        self._keep(key, found)
        return b"%d-%d" % (ms, number)

    def _do_xrevrange(self, key: bytes, end: bytes, _start: bytes, _count: bytes, count: bytes) -> list[Any]:
        """From `end` (`+` or `(ms-number`) back to the oldest."""
        before = None
        if end != b"+":
            ms, _, number = end.removeprefix(b"(").partition(b"-")
            before = (_entry_number(ms), _entry_number(number))
        found: Stream = self._found(key, Stream)
        older = [entry for entry in reversed(found) if before is None or entry[:2] < before]
        most = _integer(count, "ERR value is not an integer or out of range")
        return [[b"%d-%d" % (ms, number), list(fields)] for ms, number, fields in older[:most]]

    def _do_smembers(self, key: bytes) -> list[bytes]:
        return sorted(self._found(key, set))


def spelt(number: float) -> bytes:
    """A number as Redis writes it, also one that a script passes to a command: 17 significant digits, if need be."""
    return b"%d" % number if abs(number) < 1e17 and number.is_integer() else b"%.17g" % number


def _integer(text: bytes, complaint: str) -> int:
    if not _INTEGER.fullmatch(text) or not -_LARGEST <= int(text) < _LARGEST:
        raise CommandError(complaint)
    return int(text)


def _entry_number(text: bytes) -> int:
    return _integer(text, "ERR Invalid stream ID specified as stream command argument")


def _float(text: bytes, complaint: str) -> float:
    if not _FLOAT.fullmatch(text):
        raise CommandError(complaint)
    return float(text)


class _Bound(NamedTuple):
    score: float
    open: bool


def _bound(text: bytes) -> _Bound:
    return _Bound(_float(text.removeprefix(b"("), "ERR min or max is not a float"), text.startswith(b"("))


def _lies(score: float, least: _Bound, most: _Bound) -> bool:
    above = score > least.score or (score == least.score and not least.open)
    return above and (score < most.score or (score == most.score and not most.open))
