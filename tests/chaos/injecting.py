"""Each kind of fault as a block: it is there inside, and mended when the block is left."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from random import Random
from typing import Final

from tests.chaos.fleet import Fleet
from tests.chaos.processes import Running
from tests.chaos.store_side import StoreAlone, StoreTrio
from tests.link import FINE, Link, Trouble

Injection = AbstractAsyncContextManager[None]

SERVER_ERRORS: Final = (500, 502, 503, 504)
HANGS: Final = 3
JUMPS_S: Final = (-3600, -30, 30, 3600)
GARBAGE: Final = (
    b"\x00\xff banana\r\n\r\n",
    b"HTTP/1.1 2OO OK\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nno header at all\r\n\r\n",
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\nzz\r\nbanana\r\n",
    b'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n{"banana"',
)


def injection(fleet: Fleet, kind: str, target: int, chance: Random) -> Injection:
    """The fault of this kind on part number `target`."""
    part, _, what = kind.partition("-")
    if part == "rank":
        return _of_rank(fleet, what, target, chance)
    if part == "gateway":
        return _of_process(fleet.gateways[target], what)
    if part == "agent":
        return _of_agent(fleet, what, target)
    return _of_store(fleet, what, target, chance)


def _of_rank(fleet: Fleet, what: str, target: int, chance: Random) -> Injection:
    link = fleet.rank_links[target]
    faults: dict[str, dict[str, object]] = {
        "5xx": {"kind": "error", "status": chance.choice(SERVER_ERRORS)},
        "cut": {"kind": "drop_after_chunks", "chunks": chance.randint(1, 8)},
        "hang": {"kind": "hang", "count": HANGS},
    }
    troubles = {
        "reset": Trouble("requests", reset=True),
        "latency": Trouble(delay_s=chance.uniform(0.05, 0.3)),
        "garbage": Trouble("requests", garbage=chance.choice(GARBAGE)),
    }
    if what in faults:
        return _misbehaving(fleet, target, **faults[what])
    if what in troubles:
        return troubled([link], troubles[what])
    if what == "partition":
        return cut_off([link])
    return _of_process(fleet.ranks[target], what, fleet.doors(target))


def _of_process(
    process: Running, what: str, doors: Sequence[Link] = (), before_start: Callable[[], None] | None = None
) -> Injection:
    match what:
        case "kill":
            return killed(process, doors, before_start)
        case "term":
            return ended_in_order(process, doors)
        case "freeze":
            return frozen(process)
    raise ValueError(what)


def _of_agent(fleet: Fleet, what: str, target: int) -> Injection:
    match what:
        case "blind":
            each = len(fleet.ranks) // len(fleet.agents)
            return troubled(fleet.rank_links[target * each : (target + 1) * each], Trouble("looks", partition=True))
        case "partition":
            return cut_off([fleet.agent_links[target]])
    return _of_process(fleet.agents[target], what)


def _of_store(fleet: Fleet, what: str, target: int, chance: Random) -> Injection:
    store, links = fleet.store, [*fleet.gateway_links, *fleet.agent_links]
    if isinstance(store, StoreTrio):
        return failed_over(store)
    troubles = {
        "reset": (links, Trouble(reset=True)),
        "latency": (links, Trouble(delay_s=chance.uniform(0.005, 0.1))),
    }
    cuts = {"partition-one": [fleet.gateway_links[target]], "partition-all": links}
    if what in troubles:
        return troubled(*troubles[what])
    if what in cuts:
        return cut_off(cuts[what])
    if what == "disk-full":
        return full(store)
    if what == "clock":
        return jumped(store, chance.choice(JUMPS_S))
    return _of_process(store.process, what, links, store.forget)


@asynccontextmanager
async def killed(
    process: Running, doors: Sequence[Link], before_start: Callable[[], None] | None = None
) -> AsyncIterator[None]:
    """kill -9. `doors` lead to it: nobody listens behind them meanwhile."""
    process.kill()
    _shut(doors)
    yield
    if before_start:
        before_start()
    await _again(process, doors)


@asynccontextmanager
async def ended_in_order(process: Running, doors: Sequence[Link]) -> AsyncIterator[None]:
    """SIGTERM; what it still does, it does. Its doors close at once, as a socket that is no longer listened on."""
    process.signal(signal.SIGTERM)
    for each in doors:
        each.close()
    yield
    await process.ended()
    _shut(doors)
    await _again(process, doors)


@asynccontextmanager
async def frozen(process: Running) -> AsyncIterator[None]:
    """SIGSTOP, and SIGCONT."""
    process.signal(signal.SIGSTOP)
    try:
        yield
    finally:
        process.signal(signal.SIGCONT)


@asynccontextmanager
async def troubled(links: Sequence[Link], trouble: Trouble) -> AsyncIterator[None]:
    """The links suffer from this."""
    for each in links:
        each.suffer(trouble)
    try:
        yield
    finally:
        for each in links:
            each.suffer(FINE)


@asynccontextmanager
async def cut_off(links: Sequence[Link]) -> AsyncIterator[None]:
    """Nothing passes, and nobody is told: packets vanish, and a link that has no namespace keeps all back."""
    namespaces = [each.namespace for each in links if each.namespace]
    async with troubled([each for each in links if not each.namespace], Trouble(partition=True)):
        await asyncio.gather(*(each.cut() for each in namespaces))
        try:
            yield
        finally:
            await asyncio.gather(*(each.mend() for each in namespaces))


@asynccontextmanager
async def _misbehaving(fleet: Fleet, rank: int, **fault: object) -> AsyncIterator[None]:
    await fleet.fault(rank, **fault)
    yield
    await fleet.fault(rank, kind="clear")


@asynccontextmanager
async def full(store: StoreAlone) -> AsyncIterator[None]:
    """Its append-only file cannot grow."""
    store.set_disk_full(full=True)
    try:
        yield
    finally:
        store.set_disk_full(full=False)


@asynccontextmanager
async def jumped(store: StoreAlone, offset_s: int) -> AsyncIterator[None]:
    """Its clock is wrong."""
    store.set_clock(offset_s)
    try:
        yield
    finally:
        store.set_clock(0)


@asynccontextmanager
async def failed_over(store: StoreTrio) -> AsyncIterator[None]:
    """Another is the master when the block is entered; the old one is its replica when it is left."""
    old, new = await store.fail_over()
    yield
    await store.rejoin(old, new)


def _shut(doors: Sequence[Link]) -> None:
    for each in doors:
        each.close()
        each.reset()


async def _again(process: Running, doors: Sequence[Link]) -> None:
    process.start()
    await process.ready()
    for each in doors:
        await each.open()
