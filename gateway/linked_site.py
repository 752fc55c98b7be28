"""A site across the link between a worker and its supervisor, who has it."""

from __future__ import annotations

import msgspec

from gateway.link import Link
from gateway.site import Site, SiteAnswer, SiteRequest


class LinkedSite:
    """The site of a worker: its supervisor."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def answer(self, request: SiteRequest) -> SiteAnswer:
        """Raises LinkClosedError when the supervisor has ended."""
        return msgspec.msgpack.decode(await self._link.ask(msgspec.msgpack.encode(request)), type=SiteAnswer)


async def answer_for(site: Site, question: bytes) -> bytes:
    """The supervisor's side: what its site says to a worker's question."""
    return msgspec.msgpack.encode(await site.answer(msgspec.msgpack.decode(question, type=SiteRequest)))
