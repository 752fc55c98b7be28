"""The options that say where a server is and what it is shown. Pure."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from gateway.settings import Key


class ServerSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Each field's description is its help text."""

    url: Annotated[
        tuple[str, ...],
        Meta(description="URL of the server, such as http://127.0.0.1:8000; requests go to several in turn"),
    ] = ()
    api_key: Annotated[tuple[Key, ...], Meta(description="key to bring; of several the first")] = ()
    api_key_file: Annotated[str, Meta(description="file with the key to bring, which no list of processes shows")] = ""
    ca: Annotated[
        str, Meta(description="PEM file with the authorities that the server is verified by; else the system's")
    ] = ""

    def __post_init__(self) -> None:
        """Raises ValueError naming the field."""
        for url in self.url:
            base_of(url)
        if self.api_key and self.api_key_file:
            raise ValueError("api_key_file: it and --api-key are two ways to give one key")


def is_printable(text: str) -> bool:
    """Whether it is ASCII without blanks and control characters, which any header can carry."""
    return all("!" <= letter <= "~" for letter in text)


def base_of(url: str) -> str:
    """The URL without the `/v1` that OpenAI's clients are given. Raises ValueError where it is none of a server."""
    if not _is_of_a_server(url):
        raise ValueError("url: expected http or https, a host and perhaps a port, and no user, query or fragment")
    return url.rstrip("/").removesuffix("/v1").rstrip("/")


def _is_of_a_server(url: str) -> bool:
    if not is_printable(url):
        return False  # a name in other letters has a form of ASCII, too
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").encode().decode("idna")
        usable = parts.scheme in {"http", "https"} and bool(host) and parts.port != 0
    except ValueError:  # of a name's letters, too
        return False
    return usable and not (parts.query or parts.fragment or parts.username is not None)
