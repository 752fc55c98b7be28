"""Answers of a prefill rank that no gateway should take for right: a fault, for tests."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import msgspec

from simulator.api_errors import internal_error
from simulator.exchange import Exchange
from simulator.faults import Fault

_CHUNK: Final = b" " * 16_384
_EVERY_S: Final = 0.005


def answer_wrongly(fault: Fault, exchange: Exchange, body: bytes) -> None:
    """Answer 200 with what `fault.params` makes of the body."""
    if fault.params == "endless":
        exchange.start_stream("application/json")
        exchange.send(exchange.frame(body[:-1]))
        _go_on(exchange)
    else:
        exchange.respond(200, _wrong(fault, body))


def _wrong(fault: Fault, body: bytes) -> bytes:
    if fault.params == "not_json":
        return b"<html>" + body
    if fault.params == "error_body":
        return internal_error().body
    answer: dict[str, Any] = msgspec.json.decode(body)
    params = answer["kv_transfer_params"]
    if fault.params == "missing_key":
        del params["remote_block_ids"]
    else:
        answer["kv_transfer_params"] = None if fault.params == "null" else [list(params)]
    return msgspec.json.encode(answer)


def _go_on(exchange: Exchange) -> None:
    """Send white space until the client has had enough."""
    if exchange.closed:
        return
    if exchange.writable:
        exchange.send(exchange.frame(_CHUNK))
    asyncio.get_running_loop().call_later(_EVERY_S, _go_on, exchange)
