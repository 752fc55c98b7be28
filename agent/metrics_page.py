"""Reads what placement needs from a `/metrics` page of vLLM, old names and new, or of FastDeploy. Pure.

One compiled pattern picks the few families we read out of some 800 lines; a general parser of the text format takes
70 times as long (benchmarks/metrics_page.py). Labels may come in any order, and there is one `EngineSample` per
`engine` label: a port may have several engines behind it.

vLLM facts: gauges change only when an engine step reports. `iteration_tokens_total_count` counts only steps that gave
a token, so it stands still during a long chunked prefill. `kv_cache_usage_perc` was once `gpu_cache_usage_perc`.
Counters carry `_total` on the wire, not in every version. `num_gpu_blocks` is the sum over the API server's engines,
`kv_cache_size_tokens` (0.32) is per engine. `request_prefill_kv_computed_tokens` leaves out cached tokens, but not
those pulled from a prefill rank (a captured decode rank shows 2907 and computed none). With several API servers the
page has neither `process_*` nor `*_created`, and an engine's load only after its first step.

FastDeploy (sources of 2025, not run) has vLLM's old names under `fastdeploy:` and no `engine` label. Its prefill times
are of tokenizing, so they are not believed. Its KV cache is `max_gpu_block_num` blocks.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import msgspec

from agent.errors import PageError

_QUERIES = (
    b"prefix_cache_queries_total", b"prefix_cache_queries",
    b"gpu_prefix_cache_queries_total", b"gpu_prefix_cache_queries",
)  # fmt: skip
_HITS = (b"prefix_cache_hits_total", b"prefix_cache_hits", b"gpu_prefix_cache_hits_total", b"gpu_prefix_cache_hits")
_NUMBERS = (
    b"num_requests_running", b"num_requests_waiting", b"kv_cache_usage_perc", b"gpu_cache_usage_perc",
    b"iteration_tokens_total_count", b"generation_tokens_total", b"generation_tokens", b"prompt_tokens_total",
    b"prompt_tokens", b"generation_tokens_created", b"request_prefill_time_seconds_count",
    b"request_prefill_time_seconds_sum", b"request_prefill_kv_computed_tokens_sum", b"request_prompt_tokens_sum",
    b"external_prefix_cache_hits_total", b"external_prefix_cache_hits", b"time_to_first_token_seconds_count",
    b"time_to_first_token_seconds_sum", b"max_gpu_block_num", *_QUERIES, *_HITS,
)  # fmt: skip
_LARGEST = 1e15
"""Above it a number is no count, no time and no share, and arithmetic on it may fail."""
_MOST_DIGITS = 15
_MOST_SERIES = 32_768
"""Of the families read here, vLLM gives 23 series per engine. Reading more would hold up the agent's other ranks."""
_LONGEST_LABELS_BYTES = 16_384
"""The longest in vLLM, the cache configuration's, are over 1 KB."""
_AWAKE = b"engine_sleep_state"
_BY_SOURCE = b"prompt_tokens_by_source_total"
_ONE_OF = {_AWAKE: ("sleep_state", "awake"), _BY_SOURCE: ("source", "local_compute")}
"""Of a family with a series for each state or source, the label of the one that is read."""
_CACHE_CONFIG = b"cache_config_info"
_PROCESS_START = b""
_FASTDEPLOY = b"fastdeploy"

# Starting with a literal line break lets the engine skip from line to line; `^` with MULTILINE is five times slower.
# Possessive quantifiers keep a page that was cut off from being tried in every way.
_SERIES = re.compile(
    rb"\n(?:(vllm|fastdeploy):("
    + b"|".join((*_NUMBERS, _AWAKE, _BY_SOURCE, _CACHE_CONFIG))
    + rb")|process_start_time_seconds)"
    rb'(?:\{((?:[^"}\n]++|"[^"\\\n]*+(?:\\.[^"\\\n]*+)*+")*+)\})? (\S+)'
)
_LABEL = re.compile(rb'(\w+)="([^"\\]*(?:\\.[^"\\]*)*)"')


class CacheConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The KV cache of one engine; `capacity_tokens` and `block_size` are 0 where the page does not tell."""

    capacity_tokens: int
    block_size: int
    dtype: str


class EngineSample(msgspec.Struct, frozen=True, kw_only=True):
    """One engine's series on one page; a counter the page lacks is 0.

    `waiting` includes requests deferred until their KV arrives. `kv_usage` is in [0, 1]. `steps` are those that gave a
    token. `prefill_*` count finished requests: how many, their prompt tokens that were computed here, and the seconds
    from schedule to first token. Cached tokens are taken off at admission already, so from sample to sample
    `prefill_tokens` may fall.
    `first_tokens` are the prompts that have had their first token, and `first_token_s` the seconds they waited for it
    in all. Of these prompts `prompt_tokens` are all tokens, and `local_tokens` those that were neither cached nor
    pulled, None where the page does not tell.
    `prefix_queries` are the prompt tokens looked up in the prefix cache at admission, None where the page does not
    tell; `prefix_hits` those found there, and `external_hits` those that a KV connector had.
    `created_s` (since the epoch, on the rank's clock) is when the engine's series began, None where unknown.
    """

    engine: str
    running: int
    waiting: int
    kv_usage: float
    steps: float
    prompt_tokens: float
    local_tokens: float | None
    first_tokens: float
    first_token_s: float
    generation_tokens: float
    prefill_requests: float
    prefill_tokens: float
    prefill_s: float
    prefix_queries: float | None
    prefix_hits: float
    external_hits: float
    created_s: float | None
    awake: bool
    cache: CacheConfig | None


class MetricsPage(msgspec.Struct, frozen=True, kw_only=True):
    """One page: its engines in the order of their labels, and when the API server started (None where unknown).

    `is_fastdeploy` is whether it is FastDeploy's and not vLLM's.
    """

    engines: tuple[EngineSample, ...]
    process_start_s: float | None
    is_fastdeploy: bool = False


def parse_metrics(page: bytes) -> MetricsPage:
    """What a page says. Raises PageError where it has no engine's load, or more series than engines can be."""
    numbers: dict[str, dict[bytes, float]] = {}
    caches: dict[str, dict[str, str]] = {}
    process_start_s: float | None = None
    is_fastdeploy = False
    for server, name, label_text, value_text in _series(page):
        value = _number(value_text)
        if value is None:
            continue
        is_fastdeploy |= server == _FASTDEPLOY
        labels = _labels(label_text)
        engine = labels.get("engine", "")
        if name == _PROCESS_START:
            process_start_s = value
        elif name == _CACHE_CONFIG:
            caches[engine] = labels
        elif name not in _ONE_OF or _ONE_OF[name] in labels.items():
            numbers.setdefault(engine, {})[name] = value
    told = {engine for engine, values in numbers.items() if b"num_requests_running" in values}
    stepless = {engine for engine, values in numbers.items() if values.get(b"iteration_tokens_total_count") == 0}
    engines = sorted(told | stepless, key=_label_order)
    if not engines:
        raise PageError("no vllm:num_requests_running on the page (is vLLM run with --disable-log-stats?)")
    samples = tuple(
        _sample(engine, numbers[engine], _cache(caches.get(engine, caches.get("")), len(engines))) for engine in engines
    )
    if is_fastdeploy:
        samples = tuple(_of_fastdeploy(sample, numbers[sample.engine]) for sample in samples)
    return MetricsPage(engines=samples, process_start_s=process_start_s, is_fastdeploy=is_fastdeploy)


def _series(page: bytes) -> Iterator[tuple[bytes, bytes, bytes, bytes]]:
    """Server, name, labels and value of each series that is read."""
    for number, match in enumerate(_SERIES.finditer(b"\n" + page), 1):
        server, name, labels, value = (part or b"" for part in match.groups())
        if number > _MOST_SERIES:
            raise PageError(f"the page has more than {_MOST_SERIES} series of engines")
        if len(labels) > _LONGEST_LABELS_BYTES:
            raise PageError(f"the page has labels longer than {_LONGEST_LABELS_BYTES} bytes")
        yield server, name, labels, value


def _sample(engine: str, values: Mapping[bytes, float], cache: CacheConfig | None) -> EngineSample:
    return EngineSample(
        engine=engine,
        running=max(0, round(values.get(b"num_requests_running", 0.0))),
        waiting=max(0, round(values.get(b"num_requests_waiting", 0.0))),
        kv_usage=min(1.0, max(0.0, _first(values, b"kv_cache_usage_perc", b"gpu_cache_usage_perc"))),
        steps=values.get(b"iteration_tokens_total_count", 0.0),
        prompt_tokens=_first(values, b"prompt_tokens_total", b"prompt_tokens"),
        local_tokens=values.get(_BY_SOURCE),
        first_tokens=values.get(b"time_to_first_token_seconds_count", 0.0),
        first_token_s=values.get(b"time_to_first_token_seconds_sum", 0.0),
        generation_tokens=_first(values, b"generation_tokens_total", b"generation_tokens"),
        prefill_requests=values.get(b"request_prefill_time_seconds_count", 0.0),
        prefill_tokens=_computed_tokens(values),
        prefill_s=values.get(b"request_prefill_time_seconds_sum", 0.0),
        prefix_queries=next((values[name] for name in _QUERIES if name in values), None),
        prefix_hits=_first(values, *_HITS),
        external_hits=_external_hits(values),
        created_s=values.get(b"generation_tokens_created"),
        awake=values.get(_AWAKE, 1.0) != 0.0,
        cache=cache,
    )


def _of_fastdeploy(sample: EngineSample, values: Mapping[bytes, float]) -> EngineSample:
    cache = sample.cache
    if cache is not None:
        tokens = round(values.get(b"max_gpu_block_num", 0.0)) * cache.block_size
        cache = msgspec.structs.replace(cache, capacity_tokens=tokens if 0 < tokens <= _LARGEST else 0)
    return msgspec.structs.replace(sample, prefill_requests=0.0, prefill_tokens=0.0, prefill_s=0.0, cache=cache)


def _computed_tokens(values: Mapping[bytes, float]) -> float:
    pulled = _external_hits(values)
    computed = values.get(b"request_prefill_kv_computed_tokens_sum")
    if computed is not None:
        return computed - pulled
    return values.get(b"request_prompt_tokens_sum", 0.0) - _first(values, *_HITS) - pulled


def _external_hits(values: Mapping[bytes, float]) -> float:
    return _first(values, b"external_prefix_cache_hits_total", b"external_prefix_cache_hits")


def _cache(labels: Mapping[str, str] | None, engines_behind_page: int) -> CacheConfig | None:
    if labels is None:
        return None
    block_size = _integer(labels.get("block_size"))
    capacity_tokens = _integer(labels.get("kv_cache_size_tokens"))
    if not capacity_tokens:
        capacity_tokens = _integer(labels.get("num_gpu_blocks")) * block_size // engines_behind_page
    if capacity_tokens > _LARGEST:
        capacity_tokens = 0
    return CacheConfig(capacity_tokens=capacity_tokens, block_size=block_size, dtype=labels.get("cache_dtype", ""))


def _labels(text: bytes) -> dict[str, str]:
    return {name.decode(): _unescaped(value).decode(errors="replace") for name, value in _LABEL.findall(text)}


def _unescaped(value: bytes) -> bytes:
    if b"\\" not in value:
        return value
    return re.sub(rb"\\(.)", lambda match: b"\n" if match[1] == b"n" else match[1], value)


def _first(values: Mapping[bytes, float], *names: bytes) -> float:
    return next((values[name] for name in names if name in values), 0.0)


def _number(text: bytes) -> float | None:
    """A finite number, or None: a gauge nobody set is NaN, which is not a load."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if abs(value) <= _LARGEST else None


def _integer(text: str | None) -> int:
    """A label's whole number; 0 for None, the text "None" and anything else."""
    return int(text) if text is not None and text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS else 0


def _label_order(engine: str) -> tuple[int, str]:
    """Engine labels are numbers as text: "10" comes after "9"."""
    return (len(engine), engine)
