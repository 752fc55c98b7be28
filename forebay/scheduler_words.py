"""FastDeploy's scheduler options, and what they are called here. Pure.

`--scheduler-name splitwise --scheduler-host H --scheduler-port P --scheduler-topic T --scheduler-ttl S` say where the
shared state is (`--redis`), which pool (`--pool-name`) and for how long a request may live (`--request-ttl-s`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple
from urllib.parse import quote

from scheduler.store_url import shown_url

PREFIX = "--scheduler-"
SHARED = ("splitwise", "global")
"""FastDeploy's schedulers that keep load in Redis."""
UNNEEDED = frozenset(
    {
        *("max-size", "min-load-score", "load-shards-num", "sync-period", "expire-period"),
        *("release-load-expire-period", "reader-parallel", "writer-parallel"),
        *("reader-batch-size", "writer-batch-size"),
    }
)
"""How their schedulers queue, sync and shard, which has no counterpart here."""
OF_REDIS: Mapping[str, str] = MappingProxyType({"host": "127.0.0.1", "port": "6379", "password": "", "db": "0"})
"""With FastDeploy's defaults."""


class SchedulerWordsError(ValueError):
    """A scheduler option that cannot be mapped; the message names it."""


class Mapped(NamedTuple):
    """A command line without them, and one line for each thing they came to."""

    words: list[str]
    notes: list[str]


def mapped(words: Sequence[str], *, has_requests: bool) -> Mapped:
    """Our own options in their place; `has_requests` is whether the command serves any. Raises SchedulerWordsError."""
    rest: list[str] = []
    given: dict[str, str] = {}
    left = iter(words)
    for word in left:
        flag, equals, value = word.partition("=")
        name = flag.replace("_", "-").removeprefix(PREFIX)
        if not flag.replace("_", "-").startswith(PREFIX):
            rest.append(word)
            continue
        if name not in UNNEEDED | OF_REDIS.keys() | {"name", "topic", "ttl"}:
            raise SchedulerWordsError(f"No such option: {flag}")
        given[name] = value if equals else _next(left, flag)
    ours = [*_store(given, rest), *_pool(given), *_life(given, has_requests=has_requests)]
    notes = [f"{flags} {said}" for flags, _, said in ours]
    notes += [f"{PREFIX}{name}: not needed here" for name in given if name in UNNEEDED]
    return Mapped([*rest, *(word for _, word, _ in ours if word)], notes)


Ours = tuple[str, str, str]
"""FastDeploy's options, the word in their place, and what is said of it."""


def _next(left: Iterator[str], flag: str) -> str:
    value = next(left, None)
    if value is None:
        raise SchedulerWordsError(f"Option '{flag}' requires an argument.")
    return value


def _store(given: Mapping[str, str], rest: Sequence[str]) -> list[Ours]:
    name = given.get("name", "")
    if name and name not in SHARED:
        raise SchedulerWordsError(f"{PREFIX}name {name}: it shares no load; {' and '.join(SHARED)} do, as Forebay does")
    flags = [PREFIX + part for part in ("name", *OF_REDIS) if part in given]
    if not flags:
        return []
    if any(word.partition("=")[0] == "--redis" for word in rest):
        raise SchedulerWordsError(f"{', '.join(flags)} and --redis are two ways to say where the store is")
    at = {**OF_REDIS, **given}
    login = f":{quote(at['password'], safe='')}@" if at["password"] else ""
    host = f"[{at['host']}]" if ":" in at["host"] and not at["host"].startswith("[") else at["host"]
    url = f"redis://{login}{host}:{at['port']}/{at['db']}"
    return [(", ".join(flags), f"--redis={url}", f"are read as --redis {shown_url(url)}")]


def _pool(given: Mapping[str, str]) -> list[Ours]:
    if (topic := given.get("topic")) is None:
        return []
    if not topic:
        raise SchedulerWordsError(f"{PREFIX}topic: it is empty")
    return [(f"{PREFIX}topic", f"--pool-name={topic}", f"is read as --pool-name {topic}")]


def _life(given: Mapping[str, str], *, has_requests: bool) -> list[Ours]:
    if (ttl := given.get("ttl")) is None:
        return []
    if not has_requests:
        return [(f"{PREFIX}ttl", "", "is for gateways; here no request lives")]
    return [(f"{PREFIX}ttl", f"--request-ttl-s={ttl}", f"is read as --request-ttl-s {ttl}: so long a request may live")]
