"""The key of a gateway that is asked for limits: so high that no load reaches them."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from secrets import token_urlsafe

from forebay.key_file_edits import KeyFileEdits
from scheduler.api_keys import ApiKey, digest_of, new_key
from scheduler.limit_rule import MOST


def limited_key(file: Path) -> str:
    """A new key, in a new file as gateways read it. Raises click.ClickException."""
    key = new_key(token_urlsafe)
    limited = ApiKey(
        name="bench",
        sha256=digest_of(key.encode()).hex(),
        created=datetime.now(tz=UTC),
        requests_per_minute=MOST,
        tokens_per_minute=MOST,
        requests_at_once=MOST,
    )
    KeyFileEdits(str(file)).add(limited)
    return key
