"""The routes that change a rank as a whole: its caches, whether it works, what it works on.

vLLM has most of them only with VLLM_SERVER_DEV_MODE.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import parse_qs

import msgspec

from simulator.api_errors import ApiError, api_error
from simulator.apis import adapters
from simulator.exchange import Exchange, Request
from simulator.rank import Rank
from simulator.sim_routes import Route

_encode = msgspec.json.encode
_MODES: Final = ("abort", "keep")
"""vLLM's third, which waits for what is in flight, is not simulated."""


def _answer(exchange: Exchange, **fields: Any) -> None:
    exchange.respond(200, _encode(fields))


def _done(rank: Rank, request: Request, exchange: Exchange) -> None:
    """What there is nothing of here, done."""
    del rank, request
    exchange.respond(200, b"", content_type=None)


def _reset_prefix_cache(rank: Rank, request: Request, exchange: Exchange) -> None:
    del request
    _answer(exchange, success=rank.forget_prefixes())


def _sleep(rank: Rank, request: Request, exchange: Exchange) -> None:
    level = _asked(request, "level", "1")
    if level not in ("0", "1", "2"):
        raise _wrong("level must be 0, 1 or 2")
    _pause_as_asked(rank, request)
    _set_sleep_level(rank, int(level))
    rank.forget_prefixes()
    _answer(exchange, status="sleeping", level=int(level))


def _wake_up(rank: Rank, request: Request, exchange: Exchange) -> None:
    _set_sleep_level(rank, None)
    rank.resume()
    _answer(exchange, status="awake", tags=parse_qs(request.query).get("tags"))


def _set_sleep_level(rank: Rank, level: int | None) -> None:
    rank.sleep_level = level
    for runner in rank.runners:
        runner.slept()


def _is_sleeping(rank: Rank, request: Request, exchange: Exchange) -> None:
    del request
    _answer(exchange, is_sleeping=rank.sleep_level is not None)


def _pause(rank: Rank, request: Request, exchange: Exchange) -> None:
    _pause_as_asked(rank, request)
    _answer(exchange, status="paused")


def _resume(rank: Rank, request: Request, exchange: Exchange) -> None:
    del request
    rank.resume()
    _answer(exchange, status="resumed")


def _is_paused(rank: Rank, request: Request, exchange: Exchange) -> None:
    del request
    _answer(exchange, is_paused=rank.paused)


def _abort_requests(rank: Rank, request: Request, exchange: Exchange) -> None:
    """End requests by their ids, as if the model had ended them there."""
    try:
        data = msgspec.json.decode(request.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise _wrong("JSON decode error") from None
    ids = data.get("request_ids") if isinstance(data, dict) else None
    if ids is None:
        raise _wrong("Missing 'request_ids' in request body")
    rank.cut({name for name in ids if isinstance(name, str)} if isinstance(ids, list) else set())
    exchange.respond(200, b"", content_type=None)


def _pause_as_asked(rank: Rank, request: Request) -> None:
    mode = _asked(request, "mode", "abort")
    if mode not in _MODES:
        raise _wrong(f"mode must be one of {', '.join(_MODES)}")
    rank.pause(abort=mode == "abort")


def _asked(request: Request, name: str, default: str) -> str:
    return parse_qs(request.query).get(name, [default])[-1]


def _wrong(message: str) -> ApiError:
    return api_error(400, message, "Bad Request")


ROUTES: Final[Mapping[str, Mapping[str, Route]]] = {
    "/reset_prefix_cache": {"POST": _reset_prefix_cache},
    "/reset_mm_cache": {"POST": _done},
    "/reset_encoder_cache": {"POST": _done},
    "/start_profile": {"POST": _done},
    "/stop_profile": {"POST": _done},
    "/sleep": {"POST": _sleep},
    "/wake_up": {"POST": _wake_up},
    "/is_sleeping": {"GET": _is_sleeping},
    "/pause": {"POST": _pause},
    "/resume": {"POST": _resume},
    "/is_paused": {"GET": _is_paused},
    "/inference/v1/abort_requests": {"POST": _abort_requests},
    "/v1/load_lora_adapter": {"POST": adapters.load},
    "/v1/unload_lora_adapter": {"POST": adapters.unload},
}
