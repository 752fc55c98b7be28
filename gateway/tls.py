"""What clients are shown of a gateway on https, read again when its files change."""

from __future__ import annotations

import asyncio
import logging
import ssl
from pathlib import Path

from gateway.settings import GatewaySettings
from scheduler.rank_tls import TlsFileError, load_pair

LOOK_S = 10.0
"""Between two looks whether the files with the certificate have changed."""

log = logging.getLogger(__name__)


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
                load_pair(self.context, "tls-cert", self._cert, self._key)
            except TlsFileError as error:
                log.warning("%s; the former certificate is still used", error)
            else:
                log.info("the certificate was read again")

    def _loaded(self) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        load_pair(context, "tls-cert", self._cert, self._key)
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
