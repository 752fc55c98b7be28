"""The options of `forebay bench --url`. Pure."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from forebay.model_server.settings import ServerSettings

RANDOM = "random"
Bound = Annotated[float, Meta(ge=0, le=1e9)]
Count = Annotated[int, Meta(ge=0, le=10_000_000)]


class LoadTestSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is sent to the server and when; each field's description is its help text."""

    server: ServerSettings = ServerSettings()
    model: Annotated[str, Meta(description="--url: model to ask for; without it the server's only one")] = ""
    api: Annotated[Literal["chat", "completions"], Meta(description="--url: API to ask")] = "chat"
    dataset: Annotated[
        str,
        Meta(
            min_length=1,
            description="--url: random, or a file: conversations as ShareGPT's, prompts, or a trace as Mooncake's",
        ),
    ] = RANDOM
    num_prompts: Annotated[int, Meta(ge=1, le=10_000_000, description="--url: requests that are measured")] = 200
    request_rate: Annotated[
        Bound,
        Meta(description="--url: mean requests a second, at random times; 0: a trace's own times, or all at once"),
    ] = 0.0
    max_concurrency: Annotated[int, Meta(ge=1, le=60_000, description="--url: requests under way at once")] = 256
    input_tokens: Annotated[int, Meta(ge=1, le=1 << 26, description="--url: tokens of a random prompt")] = 1024
    output_tokens: Annotated[
        Count, Meta(description="--url: tokens to ask for; 0: as many as the dataset says, else 128")
    ] = 0
    ignore_eos: Annotated[
        bool, Meta(description="--url: have vLLM go on to the last token asked for; other servers may not know it")
    ] = True
    warmup: Annotated[Count, Meta(description="--url: requests before the clock starts, none of them counted")] = 16
    seed: Annotated[int, Meta(ge=0, le=1 << 62, description="--url: seed of the prompts and the arrivals")] = 0
    request_timeout_s: Annotated[
        float, Meta(gt=0, le=1e6, description="--url: seconds after which a request has failed")
    ] = 600.0
    slo_ttft_ms: Annotated[Bound, Meta(description="--url: goodput wants the first token within this; 0: any")] = 0.0
    slo_tpot_ms: Annotated[Bound, Meta(description="--url: goodput wants so much per further token; 0: any")] = 0.0
    slo_e2e_ms: Annotated[Bound, Meta(description="--url: goodput wants the whole answer within this; 0: any")] = 0.0
