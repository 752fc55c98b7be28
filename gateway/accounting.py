"""Counts what a request has used, however it ends.

Exactly, by what its rank tells. A rank tells it at the end, so of a request that its client leaves nobody knows the
answer's tokens; its prompt is counted as it was estimated, apart from what is exact. What a rank's or a gateway's
failure has cost is nobody's.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import anyio

from gateway.access import RequestRecord
from gateway.gateway import Gateway
from gateway.reply import ClientGoneError


@contextmanager
def accounted(gateway: Gateway, record: RequestRecord, prompt_tokens: int) -> Iterator[None]:
    """Serve a request of so many prompt tokens, as estimated, and count what it has used."""
    try:
        yield
    except (ClientGoneError, anyio.get_cancelled_exc_class()):
        if record.usage is None and record.attempt_id and not gateway.is_cutting:
            gateway.metrics.count_unreported(record.pool, record.tenant, prompt_tokens)
        raise
    finally:
        if record.usage is not None:
            gateway.metrics.count_tokens(record.pool, record.tenant, record.usage)
