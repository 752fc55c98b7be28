"""One line in the log and one count per request, and the ids that tie them together.

A line is one JSON object, so nothing a client sends can start a line of its own. Keys and prompts are never in it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from secrets import token_hex

import msgspec
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.headers import client_request_id
from gateway.metrics import Metrics
from gateway.routes import ADMIN_PATHS, CLIENT_PATHS
from gateway.usage import Usage
from scheduler.api_keys import ApiKey

log = logging.getLogger(__name__)

SCOPE_KEY = "forebay.record"
CLIENT_LEFT = 499
"""The status in log and metrics of a request whose client left before there was any; nginx's number for it."""

LOGGED_ALWAYS = ADMIN_PATHS | CLIENT_PATHS | {"/v1/models"}
OTHER_ROUTE = "other"


class RequestRecord(msgspec.Struct, kw_only=True):
    """What is known of one request, filled in while it lives.

    `id` is ours, `client_id` the client's own X-Request-Id, `attempt_id` what the ranks were sent in the last attempt,
    `tenant` how the client's key is called, `key` what is known of one with a name, `prefill_rank` and `rank` which
    ranks they were: the one that answers, and the one before it, if any; `usage` what the one that answers has told,
    and `seen_tokens` those that were seen to pass, where a key's limit counts them. `held_bytes` of its body are held,
    and so long it has `waited_s` for a rank, or for what comes before (rank_wait.py).
    Times are monotonic, in seconds. A status of 0 means that nothing has been answered yet.
    """

    id: str
    client_id: str | None
    route: str
    started_s: float
    status: int = 0
    tenant: str = ""
    key: ApiKey | None = None
    pool: str = ""
    prefill_rank: str = ""
    rank: str = ""
    attempt_id: str = ""
    first_token_s: float | None = None
    usage: Usage | None = None
    seen_tokens: int = 0
    held_bytes: int = 0
    waited_s: float = 0.0
    error: str = ""
    client_left: bool = False

    @property
    def answered_id(self) -> str:
        """The X-Request-Id of the answer: the client's own, or ours."""
        return self.client_id or self.id


def record_of(scope: Scope) -> RequestRecord:
    """The record of the request whose scope this is."""
    record: RequestRecord = scope[SCOPE_KEY]
    return record


class AccessLog:
    """ASGI middleware: gives each request its record and its X-Request-Id, counts and logs it when it is over.

    Requests for ranks or models and failures are logged at INFO, all others (probes, scrapes) at DEBUG.
    """

    def __init__(
        self, app: ASGIApp, *, routes: frozenset[str], metrics: Metrics, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._app = app
        self._routes = routes
        self._metrics = metrics
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        record = RequestRecord(
            id=token_hex(16),
            client_id=client_request_id(scope["headers"]),
            route=scope["path"] if scope["path"] in self._routes else OTHER_ROUTE,
            started_s=self._clock(),
        )
        scope[SCOPE_KEY] = record

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                record.status = message["status"]
                answered_id = (b"x-request-id", record.answered_id.encode())
                message["headers"] = [*message.get("headers", ()), answered_id]
            await send(message)

        failed = True
        self._metrics.in_flight.inc()
        try:
            await self._app(scope, receive, send_with_id)
            failed = False
        finally:
            self._metrics.in_flight.dec()
            self._finish(record, scope["method"], failed=failed)

    def _finish(self, record: RequestRecord, method: str, *, failed: bool) -> None:
        if not record.status:
            record.status = 500 if failed else CLIENT_LEFT
        self._metrics.requests.labels(record.route, str(record.status), record.pool).inc()
        level = logging.INFO if record.route in LOGGED_ALWAYS or record.status >= 500 else logging.DEBUG
        if not log.isEnabledFor(level):
            return
        now_s = self._clock()
        line: dict[str, object] = {
            "event": "request",
            "id": record.id,
            "client_id": record.client_id,
            "method": method,
            "route": record.route,
            "tenant": record.tenant,
            "pool": record.pool,
            "prefill_rank": record.prefill_rank,
            "rank": record.rank,
            "attempt_id": record.attempt_id,
            "status": record.status,
            "ms": round((now_s - record.started_s) * 1000, 1),
            "error": record.error,
            "client_left": record.client_left,
        }
        if record.first_token_s is not None:
            line["ttft_ms"] = round((record.first_token_s - record.started_s) * 1000, 1)
        log.log(level, msgspec.json.encode(line).decode())
