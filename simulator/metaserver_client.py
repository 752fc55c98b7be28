"""Calls a metaserver as a decode engine does: one of 32 threads, without any time-out, whatever is answered.

Where the transport fails it is tried three times in all.
"""

from __future__ import annotations

import asyncio
import ssl
from time import monotonic
from typing import Final
from urllib.parse import urlsplit

THREADS: Final = 32
TRIES: Final = 3


class MetaserverClient:
    """The threads of one engine."""

    def __init__(self) -> None:
        self._threads = asyncio.Semaphore(THREADS)

    async def post(self, url: str, body: bytes) -> float | None:
        """How long the answer took, in seconds, once a thread was free; None where there was none."""
        async with self._threads:
            for _ in range(TRIES):
                began_s = monotonic()
                try:
                    await _post(url, body)
                except (OSError, ValueError, EOFError, asyncio.LimitOverrunError):
                    continue
                return monotonic() - began_s
        return None


async def _post(url: str, body: bytes) -> None:
    """Returns at the answer's end, whatever its status. Raises OSError, ValueError, EOFError,
    LimitOverrunError."""
    parts = urlsplit(url)
    tls = ssl.create_default_context() if parts.scheme == "https" else None
    port = parts.port or (443 if tls else 80)
    reader, writer = await asyncio.open_connection(parts.hostname or "", port, ssl=tls)
    try:
        head = (
            f"POST {parts.path or '/'} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        writer.write(head.encode() + body)
        await reader.readuntil(b"\r\n\r\n")
        await reader.read()
    finally:
        writer.close()
