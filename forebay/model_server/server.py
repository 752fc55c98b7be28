"""A server as a command's options name it, with what they name read."""

from __future__ import annotations

import ssl
from collections.abc import Sequence

import click
import msgspec

from forebay.model_server.settings import ServerSettings, base_of, is_printable
from forebay.secret_files import secret_in
from scheduler.rank_tls import TlsFileError, trusting


class Server(msgspec.Struct, frozen=True, kw_only=True):
    """`bases`: URLs without the path of an API. `headers`: what each request carries. `tls`: None for plain HTTP."""

    bases: tuple[str, ...]
    headers: dict[str, str]
    tls: ssl.SSLContext | None


def server_at(urls: Sequence[str], key: str = "", ca: str = "") -> Server:
    """Raises ValueError for what cannot be a server's URL or key, TlsFileError for authorities that cannot be used."""
    if not urls:
        raise ValueError("url: expected one at least")
    if not is_printable(key):
        raise ValueError("api_key: it has a letter that is no printable ASCII, or a blank")
    bases = tuple(map(base_of, urls))
    secure = any(base.startswith("https:") for base in bases)
    return Server(
        bases=bases,
        headers={"authorization": f"Bearer {key}"} if key else {},
        tls=trusting(ssl.Purpose.SERVER_AUTH, "ca", ca) if secure or ca else None,
    )


def server_of(settings: ServerSettings) -> Server:
    """Raises click.UsageError that names the option."""
    if not settings.url:
        raise click.UsageError("Missing option '--url' (env var: 'FOREBAY_URL')")
    key, given = settings.api_key[0] if settings.api_key else "", "--api-key: the key"
    if settings.api_key_file:
        key = secret_in(settings.api_key_file, "--api-key-file")
        given = f"--api-key-file: the key in {settings.api_key_file}"
    if not is_printable(key):
        raise click.UsageError(f"{given} has a blank or a control character in it, or a letter that is not ASCII")
    try:
        return server_at(settings.url, key, settings.ca)
    except TlsFileError as error:
        raise click.UsageError(str(error)) from error
