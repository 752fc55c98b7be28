"""The options of `forebay batch`. Pure."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from forebay.model_server.settings import ServerSettings


class BatchSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is asked, how much of it at once, and how long it is tried; each field's description is its help text."""

    server: ServerSettings = ServerSettings()
    concurrency: Annotated[int, Meta(ge=1, le=65_536, description="requests at once")] = 64
    retries: Annotated[int, Meta(ge=0, le=1_000, description="how often a request that failed is tried again")] = 3
    busy_timeout_s: Annotated[
        float,
        Meta(ge=0, le=1e6, description="how long a request waits for a server that is busy (429, 503) or not there"),
    ] = 600.0
    answer_timeout_s: Annotated[float, Meta(gt=0, le=1e6, description="how long one answer may take")] = 3_600.0
    max_line_bytes: Annotated[
        int, Meta(ge=1, le=1 << 30, description="longest line of the input; gateways take 20 MB unless told otherwise")
    ] = 20_971_520
    resume: Annotated[
        bool, Meta(description="keep what an earlier run has written to the output or its journal, and ask the rest")
    ] = False
