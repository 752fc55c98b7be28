"""Certificates for tests, made by openssl: an authority of their own, and what it or nobody signed."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.ports import HOST

DAYS = 2
EXPIRED_DAYS = -1
UNVERIFIABLE = ("expired", "of another host", "of another authority")
"""What may be wrong with a certificate, for `unverifiable`."""


class Pair(NamedTuple):
    """A certificate and its key, in PEM files."""

    cert: Path
    key: Path


class Authority:
    """Signs; `ca` is its own certificate."""

    def __init__(self, folder: Path, name: str = "authority") -> None:
        """Skips the test where openssl is not installed."""
        if shutil.which("openssl") is None:
            pytest.skip("openssl is not installed")
        folder.mkdir(exist_ok=True)
        self._folder, self._own = folder, Pair(folder / f"{name}.pem", folder / f"{name}.key")
        _openssl(
            *("req", "-x509", *_new_key(self._own.key), "-out", str(self._own.cert), "-days", str(DAYS)),
            *("-subj", f"/CN={name}", "-addext", "keyUsage=critical,keyCertSign"),
        )

    @property
    def ca(self) -> Path:
        return self._own.cert

    def signs(self, name: str, alt: str = f"IP:{HOST},DNS:localhost", days: int = DAYS) -> Pair:
        """A certificate for these alternative names."""
        pair = Pair(self._folder / f"{name}.pem", self._folder / f"{name}.key")
        request, extensions = self._folder / f"{name}.csr", self._folder / f"{name}.ext"
        extensions.write_text(f"subjectAltName={alt}\n")
        _openssl("req", *_new_key(pair.key), "-out", str(request), "-subj", f"/CN={name}")
        _openssl(
            *("x509", "-req", "-in", str(request), "-CA", str(self._own.cert), "-CAkey", str(self._own.key)),
            *("-CAcreateserial", "-days", str(days), "-extfile", str(extensions), "-out", str(pair.cert)),
        )
        return pair


def unverifiable(authority: Authority, folder: Path, what: str) -> Pair:
    """A certificate that who trusts the authority refuses; `what` is one of `UNVERIFIABLE`."""
    match what:
        case "expired":
            return authority.signs("expired", days=EXPIRED_DAYS)
        case "of another host":
            return authority.signs("elsewhere", alt="DNS:elsewhere.example")
        case _:
            return Authority(folder / "other").signs("stranger")


def _new_key(key: Path) -> tuple[str, ...]:
    return ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", str(key))


def _openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)
