"""The simulator's own paths under /sim, for tests: faults, state, misuse."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from simulator.api_errors import ApiError, bad_request
from simulator.exchange import Exchange, Request
from simulator.faults import Fault
from simulator.rank import Rank

_encode = msgspec.json.encode
Route = Callable[[Rank, Request, Exchange], None]

NOT_FOUND: Final = ApiError(404, b'{"detail":"Not Found"}')


def _set_fault(rank: Rank, request: Request, exchange: Exchange) -> None:
    try:
        fault = msgspec.json.decode(request.body, type=Fault)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise bad_request(str(error)) from None
    if fault.kind in ("freeze", "clear"):
        for runner in rank.runners:
            runner.freeze(fault.kind == "freeze")
    rank.faults.put(fault)
    exchange.respond(200, b"{}")


def _state(rank: Rank, request: Request, exchange: Exchange) -> None:
    """Counts for tests; the connection that asks is not among the open ones."""
    del request
    state = {
        "in_engine": sum(runner.in_engine for runner in rank.runners),
        "in_flight": rank.in_flight,
        "open_connections": len(rank.connections.open) - 1,
        "served": rank.served,
        "aborted": rank.aborted,
        "rejected": rank.rejected,
    }
    exchange.respond(200, _encode(state))


def _misuse(rank: Rank, request: Request, exchange: Exchange) -> None:
    """What was done wrong with KV; a POST forgets it. Nobody counts in faithful mode, so there it does not exist."""
    if not rank.misuse.strict:
        raise NOT_FOUND
    report = rank.misuse.report(sum(runner.kv.audit.unclaimed for runner in rank.runners))
    if request.method == "POST":
        rank.misuse.clear()
    exchange.respond(200, _encode(report))


ROUTES: Final[Mapping[str, Mapping[str, Route]]] = {
    "/sim/fault": {"POST": _set_fault},
    "/sim/state": {"GET": _state},
    "/sim/misuse": {"GET": _misuse, "POST": _misuse},
}
