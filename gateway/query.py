"""A URL's query, as it came: what it says of one name, and what is left without that. Pure."""

from __future__ import annotations

from urllib.parse import unquote_plus


def value_of(query: str, name: str) -> str | None:
    """The first value of a name, decoded."""
    for item in query.split("&"):
        key, _, value = item.partition("=")
        if unquote_plus(key) == name:
            return unquote_plus(value)
    return None


def without(query: str, name: str) -> str:
    """The query without a name, everything else byte for byte."""
    return "&".join(item for item in query.split("&") if unquote_plus(item.partition("=")[0]) != name)
