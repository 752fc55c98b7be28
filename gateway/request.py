"""One request for the ranks: first what is known before its body is read, then what is asked."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from starlette.types import Receive, Scope

from gateway.access import RequestRecord, record_of
from gateway.client_body import ClientBody
from gateway.errors import InvalidRequestError
from gateway.headers import Headers, first
from gateway.prompt import Prompt
from gateway.reply import Reply
from gateway.routes import Route
from gateway.wire import Api, Body

QUERY = re.compile(rb"[\x21-\x7e]*")
"""What may stand in a request's line; the parser lets other bytes in."""


Claim = Callable[[], Awaitable[None]]


async def unopposed() -> None:
    """For the only attempt."""


class Head(NamedTuple):
    """The start line and headers a client sent; ranks get them as headers.py says."""

    method: str
    path: str
    query: str
    headers: Headers

    @property
    def target(self) -> str:
        """What is asked for at a rank."""
        return f"{self.path}?{self.query}" if self.query else self.path


class Arrival(NamedTuple):
    """A request whose body is yet to be read. `explain`: its client asked where it goes, and may know.

    `receipt_for` is the id under which receipts of its placements are kept; empty: none are. `rank` is the one that it
    names, if it does (pins.py).
    """

    head: Head
    receive: Receive
    record: RequestRecord
    reply: Reply
    explain: bool
    receipt_for: str
    rank: str


class Request(NamedTuple):
    """A request on its way to the ranks; `asked` is its prompt, None where it is not read.

    `content` is what a rank gets that serves it alone, `body` what was read of it. `claim` is awaited before anything
    goes to the client: of two attempts at once only one may go on.
    """

    route: Route
    head: Head
    content: bytes | ClientBody
    body: Body
    asked: Prompt | None
    record: RequestRecord
    reply: Reply
    explain: bool
    receipt_for: str
    claim: Claim = unopposed

    @property
    def api(self) -> Api:
        """How a request that may be served in two legs is split."""
        assert self.route.api is not None, "only what has an API is placed on a pair"
        return self.route.api


def arrival_of(
    scope: Scope, receive: Receive, reply: Reply, *, may_explain: bool, receipt_share: float, rank: str = ""
) -> Arrival:
    """What a scope says of its request; a share of all has receipts, and those that are to be explained.

    `rank` is the one that it names.

    Raises InvalidRequestError if its query is none that may be sent on.
    """
    query: bytes = scope["query_string"]
    if not QUERY.fullmatch(query):
        raise InvalidRequestError("The query has characters that a URL must not have")
    head = Head(scope["method"], scope["path"], query.decode(), scope["headers"])
    explain = may_explain and first(head.headers, b"x-forebay-explain") == b"1"
    record = record_of(scope)
    receipt_for = record.answered_id if explain or is_sampled(record.id, receipt_share) else ""
    return Arrival(head, receive, record, reply, explain, receipt_for, rank)


def is_sampled(request_id: str, share: float) -> bool:
    """Whether a request is of the share, by its id, which is random hexadecimal digits."""
    return int(request_id[:8], 16) < share * 0x1_0000_0000
