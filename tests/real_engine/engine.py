"""One real vLLM server on 127.0.0.1, started, watched, ended and started again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

import httpx
from prometheus_client.parser import text_string_to_metric_families

from forebay.ports import LOOPBACK, free_ports
from tests.polling import until_now
from tests.real_engine.install import COMMAND, MODEL

START_S = 240.0
START_PAUSE_S = 1.0
"""Asking is work too, and starting needs all the cores there are."""
ANSWER_S = 120.0
END_S = 60.0

BLOCK_TOKENS = 32
CONTEXT_TOKENS = 4096
MAX_NUM_SEQS = 8
KV_BYTES = 67_108_864
"""65,536 tokens of the tiny model."""

Role = Literal["mixed", "prefill", "decode"]
KV_ROLES: dict[Role, str] = {"prefill": "kv_producer", "decode": "kv_consumer"}

# vLLM's own threads would fight for the few cores; nothing is to be looked up outside this machine.
VARIABLES = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_ENABLE_RESPONSES_API_STORE": "1",
    "DO_NOT_TRACK": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "OMP_NUM_THREADS": "1",
    "VLLM_HOST_IP": LOOPBACK,
    "VLLM_LOOPBACK_IP": LOOPBACK,
    "VLLM_NIXL_SIDE_CHANNEL_HOST": LOOPBACK,
    "UCX_TLS": "tcp,sm,self",
    "UCX_NET_DEVICES": "lo",
}


class Engine:
    """A vLLM server of one role that serves the tiny model as `model`; its port stays its own over restarts."""

    def __init__(self, folder: Path, role: Role, model: str) -> None:
        self.role, self.model = role, model
        self.port, self._side_port = free_ports(2)
        self.log = folder / f"engine-{role}.log"
        self.stat_socket = folder / f"stats-{role}.sock"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def rank(self) -> str:
        return f"{LOOPBACK}:{self.port}"

    @property
    def url(self) -> str:
        return f"http://{self.rank}"

    def start(self) -> None:
        """Starts the process and returns at once."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command(),
                env=os.environ | VARIABLES | self._variables(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # A group of its own: the server's children are ended with it, also after it was killed.
                start_new_session=True,
            )

    def _variables(self) -> dict[str, str]:
        return {"VLLM_NIXL_SIDE_CHANNEL_PORT": str(self._side_port), "FOREBAY_STAT_SOCKET": str(self.stat_socket)}

    def _command(self) -> list[str]:
        command = [
            *(str(COMMAND), "serve", str(MODEL), "--host", LOOPBACK, "--port", str(self.port)),
            *("--served-model-name", self.model, "--dtype", "float32", "--max-model-len", str(CONTEXT_TOKENS)),
            *("--max-num-seqs", str(MAX_NUM_SEQS), "--max-num-batched-tokens", str(CONTEXT_TOKENS)),
            *("--block-size", str(BLOCK_TOKENS), "--enforce-eager", "--seed", "0"),
            *("--kv-cache-memory-bytes", str(KV_BYTES), "--enable-server-load-tracking"),
            *("--enable-prompt-tokens-details", "--enable-scale-out"),
        ]
        if self.role in KV_ROLES:
            transfer = {"kv_connector": "NixlConnector", "kv_role": KV_ROLES[self.role], "kv_buffer_device": "cpu"}
            command += ["--kv-transfer-config", json.dumps(transfer)]
        return command

    def wait_until_up(self) -> None:
        """Returns when the server says that it is healthy; fails with the end of its log when it ends first."""

        def is_up() -> bool:
            assert self._process is not None
            assert self._process.poll() is None, f"{self.role} ended:\n{self.log.read_text(errors='replace')[-4000:]}"
            return self.is_healthy()

        until_now(is_up, f"the {self.role} engine is up", within_s=START_S, pause_s=START_PAUSE_S)

    def is_healthy(self) -> bool:
        try:
            return httpx.get(f"{self.url}/health", timeout=10, trust_env=False).status_code == 200
        except httpx.TransportError:
            return False

    def send_signal(self, number: signal.Signals) -> None:
        """To all its processes for SIGKILL, as a machine that dies; else to the server alone, as a supervisor does."""
        assert self._process is not None
        if number is signal.SIGKILL:
            os.killpg(self._process.pid, number)
        else:
            self._process.send_signal(number)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Its engine process works on nothing until the block ends; the server before it still takes requests."""
        assert self._process is not None
        tasks = Path(f"/proc/{self._process.pid}/task").glob("*/children")
        children = [int(pid) for task in tasks for pid in task.read_text().split()]
        try:
            for pid in children:
                os.kill(pid, signal.SIGSTOP)
            yield
        finally:
            for pid in children:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)

    def end(self) -> None:
        """Ends all its processes by force; does nothing when it was never started."""
        if self._process is None:
            return
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(END_S)
        self._process = None

    def post(self, path: str, body: dict[str, Any]) -> httpx.Response:
        return httpx.post(f"{self.url}{path}", json=body, timeout=ANSWER_S, trust_env=False)

    def gauges(self) -> dict[str, float]:
        """The vLLM samples of its metrics page by name, and by name{reason or source or stage} where they have one."""
        page = httpx.get(f"{self.url}/metrics", timeout=30, trust_env=False).text
        found: dict[str, float] = {}
        for family in text_string_to_metric_families(page):
            for sample in family.samples:
                labels = [value for label, value in sample.labels.items() if label in {"reason", "source", "stage"}]
                name = sample.name.removeprefix("vllm:")
                found["".join([name, *(f"{{{label}}}" for label in labels)])] = sample.value
        return found

    @property
    def load(self) -> int:
        """Requests that its server has taken and not answered to their end."""
        return int(httpx.get(f"{self.url}/load", timeout=30, trust_env=False).json()["server_load"])

    @property
    def running(self) -> int:
        return int(self.gauges()["num_requests_running"])

    @property
    def kv_usage(self) -> float:
        return self.gauges()["kv_cache_usage_perc"]

    @property
    def external_tokens(self) -> float:
        """Prompt tokens whose KV came from another engine."""
        return self.gauges()["prompt_tokens_by_source_total{external_kv_transfer}"]
