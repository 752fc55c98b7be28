"""Milliseconds to read a real vLLM page, ours against a general parser: `python benchmarks/metrics_page.py`."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from agent.metrics_page import parse_metrics

PAGE = Path(__file__).parent.parent / "tests" / "data" / "metrics" / "vllm_0_32_idle.txt"
ROUNDS = 50


def median_ms(read: Callable[[], object]) -> float:
    """The median time of one read."""
    times_s = []
    for _ in range(ROUNDS):
        started_s = time.perf_counter()
        read()
        times_s.append(time.perf_counter() - started_s)
    return statistics.median(times_s) * 1e3


def main() -> None:
    """Measure both and print one line each."""
    page = PAGE.read_bytes()
    text = page.decode()
    readers: dict[str, Callable[[], object]] = {
        "agent.metrics_page": lambda: parse_metrics(page),
        "prometheus_client.parser": lambda: list(text_string_to_metric_families(text)),
    }
    for name, read in readers.items():
        print(f"{name:26} {median_ms(read):7.3f} ms for {len(page)} bytes")  # noqa: T201


if __name__ == "__main__":
    main()
