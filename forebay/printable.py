"""Text of others' as a terminal may have it: control characters would move its cursor, or write its title. Pure."""

from __future__ import annotations

from rich.markup import escape


def printable(text: str) -> str:
    """The text with what is no printable character spelled out, as `\\x1b`; line ends stay."""
    return "".join(each if each.isprintable() or each == "\n" else _spelled(each) for each in text)


def cell(text: str) -> str:
    """The same as rich's markup, which tables take."""
    return escape(printable(text))


def _spelled(character: str) -> str:
    return character.encode("unicode_escape").decode()
