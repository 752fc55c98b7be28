"""One completions request, read: what is asked, and where the answer goes."""

from __future__ import annotations

from typing import NamedTuple

from gateway.access import RequestRecord
from gateway.headers import Headers
from gateway.prompt import Prompt
from gateway.reply import Reply
from gateway.wire import Api, Body


class Request(NamedTuple):
    """A request on its way to the ranks; `asked` is its prompt, None where it is not read.

    `explain`: its client asked where it goes, and may know.
    """

    api: Api
    headers: Headers
    body: Body
    asked: Prompt | None
    record: RequestRecord
    reply: Reply
    explain: bool
