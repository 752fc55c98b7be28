"""Every option of a simulated rank, parsed once into one frozen value."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta


class BadOptionError(ValueError):
    """An option's value cannot be used; `option` is the field's name."""

    def __init__(self, option: str, reason: str) -> None:
        super().__init__(f"{option}: {reason}")
        self.option = option
        self.reason = reason


class RankSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one simulated rank is and how fast it is.

    The defaults are the ones Forebay's placement was studied with: a prefill costs 20 ms and 8,000 tokens
    a second, a decode step of n sequences 6 + 0.35 n ms, at most 64 sequences run and the KV cache holds
    524,288 tokens. `speed` divides every simulated time. Each field's description is its help text.
    """

    host: Annotated[str, Meta(description="address to listen on")] = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535, description="port to listen on; 0 lets the system choose")] = 8000
    model: Annotated[str, Meta(min_length=1, description="the model's served name")] = "sim"
    role: Annotated[
        Literal["prefill", "decode", "mixed"], Meta(description="what the rank is for; all roles serve alike")
    ] = "mixed"
    speed: Annotated[float, Meta(gt=0, description="divides every simulated time")] = 1.0
    engines: Annotated[int, Meta(ge=1, le=64, description="engines (data-parallel ranks) behind this port")] = 1
    first_engine: Annotated[int, Meta(ge=0, description="`engine` label of the first engine in /metrics")] = 0
    max_model_len: Annotated[int, Meta(ge=2, description="context: prompt and output tokens together")] = 131_072
    max_num_seqs: Annotated[int, Meta(ge=1, description="sequences an engine runs at once")] = 64
    max_num_batched_tokens: Annotated[
        int, Meta(ge=1, description="tokens in one step; longer prefills are chunked")
    ] = 8192
    max_num_queued_reqs: Annotated[
        int, Meta(ge=0, description="sequences in flight (waiting or running) before 503; 0 is no limit")
    ] = 0
    kv_blocks: Annotated[int, Meta(ge=1, description="KV blocks per engine")] = 32_768
    block_size_tokens: Annotated[int, Meta(ge=1, description="tokens in one KV block")] = 16
    prefill_tokens_per_s: Annotated[float, Meta(gt=0, description="prefill rate, uncached tokens a second")] = 8000.0
    prefill_step_ms: Annotated[float, Meta(ge=0, description="base cost of a step that prefills")] = 20.0
    decode_step_ms: Annotated[float, Meta(ge=0, description="base cost of a step that only decodes")] = 6.0
    decode_ms_per_seq: Annotated[float, Meta(ge=0, description="cost of each decoding sequence in a step")] = 0.35
    mean_output_tokens: Annotated[
        int, Meta(ge=1, description="mean of the geometric length after which the model ends by itself")
    ] = 256

    keep_alive_s: Annotated[float, Meta(gt=0, description="closes a connection this long idle, as vLLM does")] = 5.0

    @property
    def kv_tokens(self) -> int:
        """Tokens one engine's KV cache holds."""
        return self.kv_blocks * self.block_size_tokens


def from_options(options: Mapping[str, Any]) -> RankSettings:
    """The settings these options (field name to value, strings allowed) stand for.

    Raises BadOptionError naming the first option that is unknown, of the wrong type, out of range, or at odds
    with another one.
    """
    try:
        settings = msgspec.convert(dict(options), RankSettings, strict=False)
    except msgspec.ValidationError as error:
        raise _named(str(error)) from error
    if settings.kv_tokens < settings.max_model_len:
        raise BadOptionError(
            "kv_blocks",
            f"{settings.kv_blocks} blocks of {settings.block_size_tokens} tokens cannot hold one sequence of "
            f"max_model_len {settings.max_model_len}",
        )
    return settings


def help_texts() -> dict[str, str]:
    """What each field means, by its name."""
    described = {field.name: msgspec.inspect.type_info(field.type) for field in msgspec.structs.fields(RankSettings)}
    return {
        name: str((info.extra_json_schema or {})["description"])
        for name, info in described.items()
        if isinstance(info, msgspec.inspect.Metadata)
    }


def option_name(field: str) -> str:
    """The command line's name of a field."""
    return f"--{field.replace('_', '-')}"


def _named(message: str) -> BadOptionError:
    """Msgspec ends its message with the path (`... - at `$.speed``), or quotes an unknown field's name."""
    reason, at, path = message.rpartition(" - at `$.")
    if at:
        return BadOptionError(path.rstrip("`"), reason)
    return BadOptionError(message.rpartition("field `")[2].rstrip("`"), "no such option")
