"""API keys with names, as gateways under test let them in."""

from datetime import UTC, datetime
from typing import Any

from scheduler.api_keys import ApiKey, digest_of

CREATED = datetime(2026, 11, 22, tzinfo=UTC)


def named(name: str, secret: str = "", **fields: Any) -> ApiKey:
    """A key called `name`; what clients bring is `secret`, or else `fb-<name>`."""
    return ApiKey(name=name, sha256=digest_of(secret_of(name, secret).encode()).hex(), created=CREATED, **fields)


def secret_of(name: str, secret: str = "") -> str:
    return secret or f"fb-{name}"


def bearing(name: str) -> dict[str, str]:
    """The header that brings it."""
    return {"authorization": f"Bearer {secret_of(name)}"}


def by_digest(*keys: ApiKey) -> dict[bytes, ApiKey]:
    return {bytes.fromhex(key.sha256): key for key in keys}
