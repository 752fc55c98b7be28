"""What started a gateway may answer some paths itself: those about its ranks, of which no gateway knows more.

A gateway that was started alone has no site, and nothing is served at these paths (routes.SITE_PATHS).
"""

from __future__ import annotations

from typing import Protocol

import msgspec


class SiteRequest(msgspec.Struct, frozen=True):
    """One request to a site."""

    path: str
    body: bytes


class SiteAnswer(msgspec.Struct, frozen=True):
    """Its answer; `body` is JSON."""

    status: int
    body: bytes


class Site(Protocol):
    """Answers the requests of the site's paths."""

    async def answer(self, request: SiteRequest) -> SiteAnswer:
        """Answer one; whatever is wrong with it is an answer too."""
        ...
