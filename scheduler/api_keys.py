"""The keys that clients bring, as a file or Redis keeps them: by digest, never the key itself.

The digest is a plain SHA-256. A slow hash makes guessing dear where people choose what is hashed; these keys are 32
random bytes, which nobody guesses however fast the hash is, and each request has its key hashed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import datetime
from functools import cached_property
from typing import Annotated

import msgspec
from msgspec import Meta

from scheduler.errors import BadApiKeyError
from scheduler.limit_rule import Limit, Limits

PREFIX = "fb-"
KEY_BYTES = 32

Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")]
"""It stands in logs and in labels of metrics, so it is short and has nothing that these would have to quote."""
Model = Annotated[str, Meta(min_length=1, max_length=256)]
Time = Annotated[datetime, Meta(tz=True)]


class ApiKey(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True, dict=True):
    """One key. Without `models` it may use all; a limit of 0 is none. `expires`: from then on it is refused.

    A field that is not known here is an error: it may be a limit, and nobody would hold it.
    """

    name: Name
    sha256: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
    created: Time
    expires: Time | None = None
    models: tuple[Model, ...] = ()
    requests_per_minute: Limit = 0
    tokens_per_minute: Limit = 0
    requests_at_once: Limit = 0

    @cached_property
    def limits(self) -> Limits:
        """What it may use."""
        return Limits(
            requests_per_minute=self.requests_per_minute,
            tokens_per_minute=self.tokens_per_minute,
            requests_at_once=self.requests_at_once,
        )

    @cached_property
    def expires_s(self) -> float | None:
        """`expires` as a Unix time."""
        return self.expires.timestamp() if self.expires else None


_DECODER = msgspec.json.Decoder(ApiKey)


def new_key(random_bytes: Callable[[int], str]) -> str:
    """A key that nobody has; `random_bytes` makes URL-safe text of so many random bytes."""
    return PREFIX + random_bytes(KEY_BYTES)


def digest_of(key: bytes) -> bytes:
    """What is kept of a key."""
    return hashlib.sha256(key).digest()


def decode(row: bytes) -> ApiKey:
    """A key as `encode` writes it. Raises BadApiKeyError, which repeats nothing of the row but names of fields."""
    try:
        return _DECODER.decode(row)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadApiKeyError(str(error)) from error


def encode(key: ApiKey) -> bytes:
    """One line of JSON."""
    return msgspec.json.encode(key)
