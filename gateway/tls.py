"""TLS on both sides: what a gateway shows its clients, and how it verifies ranks."""

from __future__ import annotations

import asyncio
import logging
import ssl
from pathlib import Path

from gateway.settings import GatewaySettings

LOOK_S = 10.0
"""Between two looks whether the files with the certificate have changed."""

log = logging.getLogger(__name__)


class TlsFileError(OSError):
    """A file with a certificate, a key or authorities cannot be used; the message names the option."""


def rank_context(settings: GatewaySettings) -> ssl.SSLContext | None:
    """How ranks on https are verified; None for the system's authorities and no certificate. Raises TlsFileError."""
    if not settings.rank_ca and not settings.rank_cert:
        return None
    try:
        context = ssl.create_default_context(cafile=settings.rank_ca or None)
    except OSError as error:
        raise _unusable("rank-ca", settings.rank_ca, error) from error
    if settings.rank_cert:
        _load(context, "rank-cert", settings.rank_cert, settings.rank_key)
    return context


class ServerCertificate:
    """What clients are shown. `context` stays the same when the files change: new connections see the new ones."""

    def __init__(self, cert: str, key: str) -> None:
        """Raises TlsFileError."""
        self._cert, self._key = cert, key
        self._seen = self._stamps()
        self.context = self._loaded()

    @classmethod
    def of(cls, settings: GatewaySettings) -> ServerCertificate | None:
        """That of the settings, if they name one. Raises TlsFileError."""
        return cls(settings.tls_cert, settings.tls_key) if settings.tls_cert else None

    async def run(self) -> None:
        """Read the files again whenever they have changed, until cancelled; what cannot be used changes nothing."""
        while True:
            await asyncio.sleep(LOOK_S)
            stamps = self._stamps()
            if stamps == self._seen:
                continue
            self._seen = stamps
            try:
                self._loaded()  # a pair that does not match would leave half of it in the context that is used
                _load(self.context, "tls-cert", self._cert, self._key)
            except TlsFileError as error:
                log.warning("%s; the former certificate is still used", error)
            else:
                log.info("the certificate was read again")

    def _loaded(self) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        _load(context, "tls-cert", self._cert, self._key)
        context.set_alpn_protocols(["http/1.1"])
        return context

    def _stamps(self) -> list[tuple[int, int] | None]:
        found: list[tuple[int, int] | None] = []
        for name in (self._cert, self._key):
            try:
                stat = Path(name).stat()
            except OSError:
                found.append(None)
            else:
                found.append((stat.st_ctime_ns, stat.st_ino))  # rights count, too
        return found


def _load(context: ssl.SSLContext, option: str, cert: str, key: str) -> None:
    try:
        # Without a password it would ask for one on the terminal.
        context.load_cert_chain(cert, key, password=str)
    except (OSError, ValueError) as error:
        raise _unusable(option, f"{cert} and {key}", error) from error


def _unusable(option: str, files: str, error: Exception) -> TlsFileError:
    why = error.strerror if isinstance(error, OSError) and error.strerror else error
    if isinstance(error, ssl.SSLError) and error.reason is None:
        why = "no certificate and its key, as PEM and without a passphrase"
    return TlsFileError(f"--{option}: cannot use {files}: {why}")
