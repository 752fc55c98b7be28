"""The kinds of faults: whom they hit, how long they last, where they can be injected. Pure."""

from __future__ import annotations

from typing import Literal, NamedTuple

Part = Literal["rank", "gateway", "agent", "store"]
StoreKind = Literal["alone", "sentinel"]
FAKETIME = "libfaketime (Debian: faketime)"


class Kind(NamedTuple):
    """One kind. `hold_s` is the least and the most from its beginning to its repair; `stores` where it is possible."""

    name: str
    part: Part
    hold_s: tuple[float, float]
    does: str
    stores: tuple[StoreKind, ...] = ("alone", "sentinel")


_ALL = (
    Kind("rank-kill", "rank", (1.0, 3.0), "kill -9, started again"),
    Kind("rank-term", "rank", (1.0, 3.0), "SIGTERM, started again"),
    Kind("rank-freeze", "rank", (1.0, 5.0), "SIGSTOP, SIGCONT"),
    Kind("rank-reset", "rank", (0.5, 1.5), "its connections are reset, new ones after their first bytes"),
    Kind("rank-latency", "rank", (1.0, 3.0), "each piece of data is 50 to 300 ms late, both ways"),
    Kind("rank-partition", "rank", (1.0, 4.0), "nothing passes to it or from it, nobody is told"),
    Kind("rank-5xx", "rank", (0.5, 2.0), "answers 500, 502, 503 or 504"),
    Kind("rank-garbage", "rank", (0.5, 2.0), "answers no HTTP, bad chunk sizes or bad JSON"),
    Kind("rank-cut", "rank", (0.5, 2.0), "breaks its streams off after some events"),
    Kind("rank-hang", "rank", (1.0, 2.0), "takes three requests and never answers them"),
    Kind("gateway-kill", "gateway", (3.5, 4.0), "kill -9, started again"),
    Kind("gateway-term", "gateway", (1.0, 3.0), "SIGTERM, started again"),
    Kind("gateway-freeze", "gateway", (1.0, 4.0), "SIGSTOP, SIGCONT"),
    Kind("agent-kill", "agent", (1.0, 4.0), "kill -9, started again"),
    Kind("agent-term", "agent", (1.0, 3.0), "SIGTERM, started again"),
    Kind("agent-freeze", "agent", (1.0, 4.0), "SIGSTOP, SIGCONT"),
    Kind("agent-blind", "agent", (1.0, 4.0), "nothing passes between it and its ranks"),
    Kind("agent-partition", "agent", (1.0, 4.0), "nothing passes between it and Redis", ("alone",)),
    Kind("store-kill", "store", (0.5, 3.0), "kill -9, started again empty", ("alone",)),
    Kind("store-term", "store", (0.5, 2.0), "SIGTERM, started again as it was", ("alone",)),
    Kind("store-freeze", "store", (5.0, 5.0), "SIGSTOP for five seconds", ("alone",)),
    Kind("store-reset", "store", (0.2, 1.0), "all connections to Redis are reset", ("alone",)),
    Kind("store-latency", "store", (1.0, 3.0), "each piece of data is 5 to 100 ms late, both ways", ("alone",)),
    Kind("store-partition-one", "store", (2.0, 2.0), "a gateway is cut off from Redis for 2 s", ("alone",)),
    Kind("store-partition-all", "store", (2.0, 2.0), "all are cut off from Redis for 2 s", ("alone",)),
    Kind("store-disk-full", "store", (1.0, 3.0), "its append-only file cannot grow", ("alone",)),
    Kind("store-clock", "store", (1.0, 3.0), "its clock jumps by up to an hour, and back", ("alone",)),
    Kind("store-failover", "store", (1.0, 2.0), "its master is killed, its replica lags", ("sentinel",)),
)  # fmt: skip
KINDS = {kind.name: kind for kind in _ALL}

CUTS = ("agent-partition", "rank-partition", "store-partition-one", "store-partition-all")
"""Partitions of all that passes on a link."""
CUTS_OF_SOME = ("agent-blind",)
"""Of some of its connections: what is below TCP knows no such difference."""

MENDED_WITHIN_S = 2.0
"""So long after its repair a fault may still be why something goes wrong: leases and what was learned run out."""


def possible(
    names: tuple[str, ...], store: StoreKind, *, has_faketime: bool, theirs: bool
) -> tuple[list[Kind], dict[str, str]]:
    """Of the kinds called `names` (all of them when empty) those that can be injected, and why the others cannot.

    `theirs`: the router is somebody else's, so only ranks are ours to break.
    """
    taken, left_out = [], {}
    for name in names or KINDS:
        kind = KINDS[name]
        if theirs and kind.part != "rank":
            left_out[name] = "not ours"
        elif store not in kind.stores:
            left_out[name] = f"not with {'a Sentinel trio' if store == 'sentinel' else 'one Redis alone'}"
        elif name == "store-clock" and not has_faketime:
            left_out[name] = f"{FAKETIME} is not installed"
        else:
            taken.append(kind)
    return taken, left_out
