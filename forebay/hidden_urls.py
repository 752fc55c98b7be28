"""What a refusal says, without the URLs that were given in a wrong place: a store's has a password. Pure."""

from __future__ import annotations

import re

from scheduler.store_url import HIDDEN

_QUOTED = re.compile(r"""(?P<quote>['"])(?P<scheme>[\w+.-]*)://.*(?P=quote)""", re.DOTALL)
"""A quoted value that is a URL, to the last such quote: the value may hold some itself."""


def without_urls(text: str) -> str:
    """The text, with *** for all of a URL behind its scheme.

    What follows a quoted one is kept. Where no quote shows the end, a password may go on to the end of the text.
    """
    quoted = _QUOTED.search(text)
    if not quoted:
        return _cut(text)
    url = f"{quoted['quote']}{quoted['scheme']}://{HIDDEN}{quoted['quote']}"
    before = text[: quoted.start()]
    return _cut(before) if "://" in before else before + url + _cut(text[quoted.end() :])


def _cut(text: str) -> str:
    before, separator, _ = text.partition("://")
    return f"{before}{separator}{HIDDEN}" if separator else text
