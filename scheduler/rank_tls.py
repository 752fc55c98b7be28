"""How ranks on https are verified, and what they are shown, by gateways and agents alike; how files of TLS are read."""

from __future__ import annotations

import ssl


class TlsFileError(OSError):
    """A file with a certificate, a key or authorities cannot be used; the message names the option."""


def rank_context(ca: str, cert: str, key: str) -> ssl.SSLContext | None:
    """By what the options --rank-ca, --rank-cert and --rank-key name; "": not given.

    None for the system's authorities and no certificate. Raises TlsFileError.
    """
    if not ca and not cert:
        return None
    context = trusting(ssl.Purpose.SERVER_AUTH, "rank-ca", ca)
    if cert:
        load_pair(context, "rank-cert", cert, key)
    return context


def trusting(purpose: ssl.Purpose, option: str, ca: str) -> ssl.SSLContext:
    """A context that verifies by the authorities in `ca`, named by `option`; "": the system's. Raises TlsFileError."""
    try:
        return ssl.create_default_context(purpose, cafile=ca or None)
    except OSError as error:
        raise _unusable(option, ca, error) from error


def load_pair(context: ssl.SSLContext, option: str, cert: str, key: str) -> None:
    """Have the context show a certificate, with its key; `option` names it. Raises TlsFileError."""
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
