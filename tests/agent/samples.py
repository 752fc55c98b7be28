"""Small samples, evidence and settings for tests of what the agent decides."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from agent.discovery import Description, ServedModel
from agent.evidence import Answered
from agent.metrics_page import CacheConfig, EngineSample, MetricsPage
from agent.settings import AgentSettings

PAGES = Path(__file__).parent.parent / "data" / "metrics"

ABOUT = Description(version="0.32.0", models=(ServedModel(id="tiny", max_model_len=2048),))


def page_bytes(name: str) -> bytes:
    return (PAGES / f"vllm_0_32_{name}.txt").read_bytes()


def unstamped(page: bytes) -> bytes:
    """The page as several API servers give it: prometheus_client's multiprocess mode leaves these families out."""
    lines = page.splitlines(keepends=True)
    return b"".join(line for line in lines if not line.startswith(b"process_") and b"_created{" not in line)


def settings(**changes: Any) -> AgentSettings:
    options: dict[str, Any] = {
        "redis": "redis://127.0.0.1:1",
        "model": "tiny",
        "role": "mixed",
        "ranks": "127.0.0.1:9000",
        "node": "node-a",
        "stat_socket": "off",
    }
    return AgentSettings(**{**options, **changes})


def engine(**changes: Any) -> EngineSample:
    values: dict[str, Any] = {
        "engine": "0",
        "running": 0,
        "waiting": 0,
        "kv_usage": 0.0,
        "steps": 0.0,
        "prompt_tokens": 0.0,
        "local_tokens": None,
        "first_tokens": 0.0,
        "first_token_s": 0.0,
        "generation_tokens": 0.0,
        "prefill_requests": 0.0,
        "prefill_tokens": 0.0,
        "prefill_s": 0.0,
        "prefix_queries": 0.0,
        "prefix_hits": 0.0,
        "external_hits": 0.0,
        "created_s": 1000.5,
        "awake": True,
        "cache": CacheConfig(capacity_tokens=65536, block_size=32, dtype="auto"),
    }
    return EngineSample(**{**values, **changes})


def answered(*engines: EngineSample, at_s: float = 0.0, process_start_s: float | None = 1000.0) -> Answered:
    return Answered(MetricsPage(engines=engines or (engine(),), process_start_s=process_start_s), at_s)
