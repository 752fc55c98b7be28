"""Requests whose clients choose the rank themselves: by the header `x-forebay-rank`, or by a port of its own.

FastDeploy calls it user-managed scheduling (its multi_api_server has a port per data-parallel rank). Such a request
goes to the rank it names or nowhere, whatever the load; it is in the ledger like any other.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from gateway.errors import InvalidRequestError, NoRankError, quoted
from gateway.gateway import RETRY_AFTER_MS
from gateway.placing import Pool
from scheduler.decision import RequestShape

HEADER = b"x-forebay-rank"
PARAM = HEADER.decode()


def named_rank(headers: Iterable[tuple[bytes, bytes]], *, may_pin: bool, port_rank: str) -> str:
    """The rank that a request names, '' for none; `port_rank` is that of the port it came to.

    Raises InvalidRequestError where it may not name one, or names two.
    """
    values = [value for name, value in headers if name == HEADER]
    if not values:
        return port_rank
    if not may_pin:
        raise InvalidRequestError(f"This gateway lets nobody name a rank; it was started without --pin ({PARAM})")
    if len(values) > 1:
        raise InvalidRequestError(f"The request names more than one rank ({PARAM})", param=PARAM)
    rank = values[0].decode(errors="replace").strip()
    if not rank:
        raise InvalidRequestError(f"{PARAM} names no rank", param=PARAM)
    if port_rank and rank != port_rank:
        told = f"{PARAM} names {quoted(rank)}, and this port is of {port_rank}"
        raise InvalidRequestError(told, param=PARAM)
    return rank


def pinned(shape: RequestShape, rank: str, pool: Pool) -> RequestShape:
    """The shape of a request that names this rank; itself where it names none.

    Raises InvalidRequestError where the rank can never take it, NoRankError where it cannot now.
    """
    if not rank:
        return shape
    if shape.only_on:
        require_keeper(rank, shape.only_on)
    fault = pool.fault_of(rank)
    if fault is None:
        return msgspec.structs.replace(shape, only_on=rank)
    told = f"Rank {quoted(rank)} of `{pool.name}` {fault.value}"
    if fault.may_pass:
        raise NoRankError(told, retry_after_ms=RETRY_AFTER_MS)
    raise InvalidRequestError(told, param=PARAM)


def require_keeper(rank: str, keeper: str) -> None:
    """Raise InvalidRequestError where a request names another rank than the one that keeps the response it is about."""
    if rank not in ("", keeper):
        told = f"The request names rank {quoted(rank)}, and its response is kept by {keeper}"
        raise InvalidRequestError(told, param=PARAM)
