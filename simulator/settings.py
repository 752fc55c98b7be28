"""Every option of a simulated rank, parsed once into one frozen value. Pure."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

JOINT = frozenset({"nixl_push", "mooncake", "sglang"})
"""The connectors whose legs come at once."""


class RankSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one simulated rank is and how fast it is.

    The defaults are the ones Forebay's placement was studied with: a prefill costs 20 ms and 8,000 tokens
    a second, a decode step of n sequences 6 + 0.35 n ms, at most 64 sequences run and the KV cache holds
    524,288 tokens. `speed` divides every simulated time. Each field's description is its help text.
    """

    host: Annotated[str, Meta(description="address to listen on")] = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535, description="port to listen on; 0 lets the system choose")] = 8000
    tls_cert: Annotated[
        str, Meta(description="PEM file with the certificate chain to show clients; without it they get no TLS")
    ] = ""
    tls_key: Annotated[str, Meta(description="PEM file with its key")] = ""
    tls_client_ca: Annotated[
        str, Meta(description="PEM file with the authorities of whom clients must show a certificate")
    ] = ""
    model: Annotated[str, Meta(min_length=1, description="the model's served name")] = "sim"
    role: Annotated[
        Literal["prefill", "decode", "mixed"], Meta(description="what the rank is for; any of them serves alone too")
    ] = "mixed"
    speed: Annotated[float, Meta(ge=0.001, le=1e6, description="divides every simulated time")] = 1.0
    engines: Annotated[int, Meta(ge=1, le=64, description="engines (data-parallel ranks) behind this port")] = 1
    first_engine: Annotated[
        int, Meta(ge=0, le=65_535, description="`engine` label of the first engine in /metrics")
    ] = 0
    data_parallel_size: Annotated[
        int,
        Meta(
            ge=1,
            le=4096,
            description="ranks of the external data-parallel group this one is of; they go and hang as one",
        ),
    ] = 1
    data_parallel_rank: Annotated[int, Meta(ge=0, le=4095, description="its number in the group")] = 0
    data_parallel_address: Annotated[str, Meta(description="where the group's rank 0 is")] = "127.0.0.1"
    data_parallel_rpc_port: Annotated[
        int, Meta(ge=1, le=65_535, description="port there, on which rank 0 coordinates the group")
    ] = 29_550
    max_model_len: Annotated[int, Meta(ge=2, le=1 << 26, description="context: prompt and output tokens together")] = (
        131_072
    )
    max_num_seqs: Annotated[int, Meta(ge=1, le=1_000_000, description="sequences an engine runs at once")] = 64
    max_num_batched_tokens: Annotated[
        int, Meta(ge=1, le=1 << 26, description="tokens in one step; longer prefills are chunked")
    ] = 8192
    max_num_queued_reqs: Annotated[
        int, Meta(ge=0, le=1_000_000, description="sequences in flight (waiting or running) before 503; 0 is no limit")
    ] = 0
    kv_blocks: Annotated[int, Meta(ge=1, le=1 << 22, description="KV blocks per engine")] = 32_768
    block_size_tokens: Annotated[int, Meta(ge=1, le=1 << 20, description="tokens in one KV block")] = 16
    prefill_tokens_per_s: Annotated[
        float, Meta(ge=0.001, le=1e9, description="prefill rate, uncached tokens a second")
    ] = 8000.0
    prefill_step_ms: Annotated[float, Meta(ge=0, le=3.6e6, description="base cost of a step that prefills")] = 20.0
    attention_ms_per_million_pairs: Annotated[
        float,
        Meta(
            ge=0,
            le=3.6e6,
            description="cost of a million pairs of a prefilled token and one before it; 4 is as an 8B model",
        ),
    ] = 0.0
    decode_step_ms: Annotated[float, Meta(ge=0, le=3.6e6, description="base cost of a step that only decodes")] = 6.0
    decode_ms_per_seq: Annotated[
        float, Meta(ge=0, le=3.6e6, description="cost of each decoding sequence in a step")
    ] = 0.35
    mean_output_tokens: Annotated[
        int, Meta(ge=1, le=1_000_000, description="mean of the geometric length after which the model ends by itself")
    ] = 256
    kv_connector: Annotated[
        Literal[
            "auto", "none", "nixl", "nixl_push", "mooncake_pull", "mooncake", "mooncake_layerwise", "sglang", "store"
        ],
        Meta(description="how KV comes from other ranks; auto: nixl for prefill and decode, none for mixed"),
    ] = "auto"
    kv_store: Annotated[
        str, Meta(description="directory that holds the KV of all ranks with kv_connector store; it only grows")
    ] = ""
    bootstrap_port: Annotated[
        int,
        Meta(
            ge=0, le=65535, description="where prefill ranks of mooncake and sglang are met; 0 lets the system choose"
        ),
    ] = 0
    kv_wait_ms: Annotated[
        float,
        Meta(ge=1, le=3.6e6, description="how long a mooncake or sglang leg waits for the other; whatever the speed"),
    ] = 480_000.0
    side_channel_host: Annotated[str, Meta(description="address on which other ranks find KV")] = "127.0.0.1"
    side_channel_port: Annotated[
        int, Meta(ge=0, le=65_472, description="port for the same, of the first engine; 0 lets the system choose")
    ] = 0
    advertised_kv_host: Annotated[
        str, Meta(description="host named in kv_transfer_params; empty for side_channel_host")
    ] = ""
    kv_lease_ms: Annotated[
        float,
        Meta(
            ge=0,
            le=3.6e6,
            description="keeps KV so long for a decode rank; real time, whatever the speed; 0 is the connector's own: "
            "30000, mooncake_pull 480000",
        ),
    ] = 0.0
    kv_handshake_ms: Annotated[
        float, Meta(ge=1, le=3.6e6, description="tries so long to reach an engine; real time, whatever the speed")
    ] = 5_000.0
    kv_load_failure_policy: Annotated[
        Literal["fail", "recompute"], Meta(description="what becomes of a request whose KV cannot be pulled")
    ] = "fail"
    kv_transfer_tokens_per_s: Annotated[
        float, Meta(ge=0.001, le=1e9, description="rate at which KV is pulled, tokens a second")
    ] = 200_000.0
    kv_transfer_base_ms: Annotated[float, Meta(ge=0, le=3.6e6, description="base cost of pulling KV")] = 5.0
    strict: Annotated[
        bool,
        Meta(
            description="counts at /sim/misuse what was done wrong with KV; the answers stay the same",
            extra={"off": "faithful"},
        ),
    ] = False
    enable_prompt_tokens_details: Annotated[
        bool, Meta(description="tells the cached prompt tokens in the usage, as vLLM does if asked to")
    ] = False
    stat_socket: Annotated[
        str,
        Meta(description="Unix socket of an agent to push each step's load to; wants the package forebay-stat-logger"),
    ] = ""
    keep_alive_s: Annotated[
        float, Meta(ge=0.001, le=86_400, description="closes a connection this long idle, as vLLM does")
    ] = 5.0

    linger_s: Annotated[
        float,
        Meta(
            ge=0,
            le=86_400,
            description="after SIGTERM keeps the connections it no longer answers open so long; vLLM does for ever",
        ),
    ] = 0.0

    def __post_init__(self) -> None:
        """Raises ValueError where one sequence would not fit, the group has no such rank, or a store no directory."""
        if self.data_parallel_rank >= self.data_parallel_size:
            raise ValueError(f"data_parallel_rank: a group of {self.data_parallel_size} has no such rank")
        if self.kv_tokens < self.max_model_len:
            blocks = f"{self.kv_blocks} blocks of {self.block_size_tokens} tokens"
            raise ValueError(f"kv_blocks: {blocks} cannot hold one sequence of max_model_len {self.max_model_len}")
        if bool(self.kv_store) != (self.connector == "store"):
            raise ValueError(
                "kv_store: the directory and kv_connector store go together, and only one of them is given"
            )
        if self.connector == "sglang" and self.engines > 1:
            raise ValueError("engines: a simulated rank of sglang has one")

    @property
    def connector(self) -> str:
        """How KV comes from other ranks; "" where it does not."""
        if self.kv_connector == "auto":
            return "" if self.role == "mixed" else "nixl"
        return "" if self.kv_connector == "none" else self.kv_connector

    @property
    def moves_kv(self) -> bool:
        """Whether KV is kept for, and pulled from, other ranks."""
        return self.connector in ("nixl", "mooncake_pull") or self.is_joint

    @property
    def is_joint(self) -> bool:
        """Whether both legs of a request come at once, and the one that is first waits for the other."""
        return self.connector in JOINT

    @property
    def lease_s(self) -> float:
        """How long KV is kept for a decode rank."""
        if self.connector in ("mooncake", "sglang"):
            return self.kv_wait_ms / 1000
        return (self.kv_lease_ms or (480_000.0 if self.connector == "mooncake_pull" else 30_000.0)) / 1000

    @property
    def pushes_layers(self) -> bool:
        """Whether decode ranks call for a prefill that pushes its KV to them."""
        return self.kv_connector == "mooncake_layerwise"

    @property
    def first_label(self) -> int:
        """The `engine` label of the first engine: with external data parallelism its number in the group."""
        return self.first_engine + self.data_parallel_rank

    @property
    def kv_tokens(self) -> int:
        """Tokens one engine's KV cache holds."""
        return self.kv_blocks * self.block_size_tokens
