"""Which ranks on https an agent trusts, and what it shows them."""

from __future__ import annotations

import ssl

from agent.settings import AgentSettings


class TlsFileError(OSError):
    """A file with a certificate, a key or authorities cannot be used; the message names the option."""


def rank_context(settings: AgentSettings) -> ssl.SSLContext | None:
    """None for the system's authorities and no certificate. Raises TlsFileError."""
    if not settings.rank_ca and not settings.rank_cert:
        return None
    try:
        context = ssl.create_default_context(cafile=settings.rank_ca or None)
    except OSError as error:
        raise _unusable("rank-ca", settings.rank_ca, error) from error
    if settings.rank_cert:
        try:
            # Without a password it would ask for one on the terminal.
            context.load_cert_chain(settings.rank_cert, settings.rank_key, password=str)
        except (OSError, ValueError) as error:
            raise _unusable("rank-cert", f"{settings.rank_cert} and {settings.rank_key}", error) from error
    return context


def _unusable(option: str, files: str, error: Exception) -> TlsFileError:
    why = error.strerror if isinstance(error, OSError) and error.strerror else error
    if isinstance(error, ssl.SSLError) and error.reason is None:
        why = "no certificate and its key, as PEM and without a passphrase"
    return TlsFileError(f"--{option}: cannot use {files}: {why}")
