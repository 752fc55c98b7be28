"""What a step costs to push, beside vLLM's own Prometheus logger: `python -m benchmarks.stat_push`.

Run by an interpreter that has vLLM (`.vllm/venv/bin/python`, which `make test-vllm` installs) it gives vLLM's own stats
to both loggers; by any other it makes stats of its own and leaves vLLM's logger out. Each is called in turn, and before
each call the process reads and writes JSON for some 100 µs, as the API server does between steps: in a bare loop, all
of it would lie in the caches. Sockets are read by other processes, as the agent's is. What is given is CPU of the
thread for one call, less that of an empty call: the median of the rounds' means, and their range.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent / "vllm_plugin"))

from forebay_stat_logger.pushing import Pushing
from forebay_stat_logger.sender import Sender

ROUNDS = 15
STEPS = 2_000
BODY = json.dumps({"choices": [{"index": n, "text": f"token {n}", "logprobs": None} for n in range(100)]})
READ_EVERY_S = 0.000_5
"""The socket holds ten datagrams, and steps follow each other here in a hundredth of the time they take in vLLM."""
RUNNING = 32
"""Requests of a step; each has one token, and one of them ends."""
NOTHING = "nothing"


def read_now_and_then(path: str, ready: Any) -> None:
    """Take datagrams until killed, as the agent does while an engine has steps: it does not wait for them."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as reader:
        reader.bind(path)
        reader.setblocking(False)
        ready.set()
        while True:
            time.sleep(READ_EVERY_S)
            with suppress(BlockingIOError):
                while True:
                    reader.recv(4096)


def wait_and_read(path: str, ready: Any) -> None:
    """The same as the agent does when nothing came for a while: each datagram wakes it."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as reader:
        reader.bind(path)
        ready.set()
        while True:
            reader.recv(4096)


@contextmanager
def read_by(read: Callable[[str, Any], None]) -> Iterator[Sender]:
    """What sends to a process that reads so."""
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        path, ready = f"{folder}/stats.sock", context.Event()
        reader = context.Process(target=read, args=(path, ready), daemon=True)
        reader.start()
        ready.wait()
        yield Sender(path)
        reader.kill()


def own_stats() -> tuple[Any, Any]:
    """One step's stats with the fields that the push reads."""
    prefix = SimpleNamespace(queries=100, hits=50)
    load = SimpleNamespace(
        num_running_reqs=RUNNING,
        num_waiting_reqs=3,
        num_skipped_waiting_reqs=1,
        kv_cache_usage=0.4321,
        prefix_cache_stats=prefix,
        connector_prefix_cache_stats=None,
    )
    ended = SimpleNamespace(num_prompt_tokens=1000, num_cached_tokens=500, prefill_time=0.25)
    iteration = SimpleNamespace(
        num_generation_tokens=RUNNING,
        num_preempted_reqs=0,
        prompt_token_stats=SimpleNamespace(total=1000, computed=500),
        time_to_first_tokens_iter=[0.25],
        finished_requests=[ended],
    )
    return load, iteration


def vllm_stats() -> tuple[Any, Any]:
    """The same in vLLM's own types."""
    from vllm.v1.engine import FinishReason  # noqa: PLC0415
    from vllm.v1.metrics.stats import FinishedRequestStats, IterationStats, SchedulerStats  # noqa: PLC0415

    load = SchedulerStats(num_running_reqs=RUNNING, num_waiting_reqs=3, kv_cache_usage=0.4321)
    load.prefix_cache_stats.queries, load.prefix_cache_stats.hits = 100, 50
    iteration = IterationStats()
    iteration.num_generation_tokens = RUNNING
    iteration.prompt_token_stats.total = 1000
    iteration.prompt_token_stats.computed = 500
    iteration.time_to_first_tokens_iter = [0.25]
    iteration.inter_token_latencies_iter = [0.02] * (RUNNING - 1)
    iteration.n_params_iter, iteration.max_num_generation_tokens_iter = [1], [RUNNING]
    ended = FinishedRequestStats(
        finish_reason=FinishReason.LENGTH, num_prompt_tokens=1000, num_generation_tokens=RUNNING, prefill_time=0.25
    )
    iteration.finished_requests = [ended]
    return load, iteration


def prometheus_logger(model: str) -> Callable[[Any, Any], None]:
    """vLLM's own, of one engine that serves the model in this folder."""
    from vllm.engine.arg_utils import EngineArgs  # noqa: PLC0415
    from vllm.v1.metrics.loggers import PrometheusStatLogger  # noqa: PLC0415

    logger = PrometheusStatLogger(EngineArgs(model=model, served_model_name="tiny").create_engine_config(), [0])
    return lambda load, iteration: logger.record(load, iteration, engine_idx=0)


def round_us(loggers: Mapping[str, Callable[[Any, Any], None]], load: Any, iteration: Any) -> dict[str, float]:
    """CPU of this thread for one call of each."""
    spent_ns = dict.fromkeys(loggers, 0)
    for _ in range(STEPS):
        for name, record in loggers.items():
            json.dumps(json.loads(BODY))
            from_ns = time.thread_time_ns()
            record(load, iteration)
            spent_ns[name] += time.thread_time_ns() - from_ns
    return {name: total_ns / STEPS / 1e3 for name, total_ns in spent_ns.items()}


def main() -> None:
    """Measure and print a line for each logger."""
    model = Path(__file__).parent.parent / ".vllm" / "model"
    try:
        load, iteration = vllm_stats()
        loggers = {"vLLM's Prometheus logger": prometheus_logger(os.environ.get("FOREBAY_BENCH_MODEL", str(model)))}
    except ImportError:
        (load, iteration), loggers = own_stats(), {}
    with read_by(read_now_and_then) as sender, read_by(wait_and_read) as waker:
        pushing, waking = Pushing([0], sender), Pushing([0], waker)
        nowhere = Pushing([0], Sender(f"{tempfile.gettempdir()}/forebay-nobody.sock"))
        loggers = {
            "push": lambda load, iteration: pushing.record(load, iteration, 0),
            "push that wakes the agent": lambda load, iteration: waking.record(load, iteration, 0),
            "push, no agent": lambda load, iteration: nowhere.record(load, iteration, 0),
            **loggers,
            NOTHING: lambda _load, _iteration: None,
        }
        rounds = [round_us(loggers, load, iteration) for _ in range(ROUNDS)]
    for name in [name for name in loggers if name != NOTHING]:
        found = [one[name] - one[NOTHING] for one in rounds]
        print(f"{name:26} {statistics.median(found):6.1f} µs a step ({min(found):.1f} to {max(found):.1f})")  # noqa: T201
    print(f"{sender.dropped} of {ROUNDS * STEPS} datagrams dropped")  # noqa: T201


if __name__ == "__main__":
    main()
