"""Asks a rank for the usage of a stream whose client has not, so that it can be accounted for. Pure.

What of it the client is not shown: withheld_usage.py.
"""

from __future__ import annotations

import msgspec
from msgspec import Raw

from gateway.wire import NULL, Body, Fields

OPTIONS = "stream_options"
INCLUDE = "include_usage"
CONTINUOUS = "continuous_usage_stats"
"""Means nothing where the usage is not asked for, and would come to mean something."""

OPTIONS_DECODER = msgspec.json.Decoder(Fields | None)


def asking(body: Body) -> Body:
    """The request with its stream's usage asked for; itself if there is none to ask for, or its client asks."""
    if not body.streamed or body.asks_usage:
        return body
    options = OPTIONS_DECODER.decode(body.fields.get(OPTIONS, NULL)) or {}
    kept = {name: value for name, value in options.items() if name != CONTINUOUS}
    fields = body.fields | {OPTIONS: Raw(msgspec.json.encode(kept | {INCLUDE: True}))}
    return msgspec.structs.replace(body, forward=msgspec.json.encode(fields), fields=fields, withholds_usage=True)
