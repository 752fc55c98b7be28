"""What stands on the PATH as `vllm` in tests of launch templates: it records its call and becomes a simulated rank."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

CALLS = "FAKE_VLLM_CALLS"
"""The folder that has a file for each port that was served."""
ROLE = "FAKE_VLLM_ROLE"
"""The simulated rank's; without it there is none, and the call is only recorded."""
RECORDED = ("VISIBLE_DEVICES", "VLLM_", "HCCL_", "IFNAME")


def put_on_path(folder: Path) -> Path:
    """Makes the command `vllm` in a new folder of `folder`, and returns it."""
    place = folder / "bin"
    place.mkdir()
    command = place / "vllm"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -S -m tests.e2e.launch.fake_vllm "$@"\n')
    command.chmod(0o755)
    return place


def calls(folder: Path) -> list[dict[str, Any]]:
    """What was recorded, by port: `options` by name, `environment`."""
    return [json.loads(file.read_text()) for file in sorted(folder.glob("*.json"))]


def options_of(arguments: list[str]) -> dict[str, str]:
    """The options, each with its value; a flag's is empty."""
    found: dict[str, str] = {}
    name = ""
    for argument in arguments:
        if argument.startswith("--"):
            name = argument
            assert name not in found, f"{name} is given twice"
            found[name] = ""
        else:
            assert found[name] == "", f"{name} has two values"
            found[name] = argument
    return found


def main() -> None:
    """`vllm serve MODEL --option value ...`."""
    serve, _model, *arguments = sys.argv[1:]
    assert serve == "serve"
    options = options_of(arguments)
    environment = {name: value for name, value in os.environ.items() if any(part in name for part in RECORDED)}
    port = options["--port"]
    record = Path(os.environ[CALLS]) / f"{port}.json"
    record.write_text(json.dumps({"options": options, "environment": environment}))
    if role := os.environ.get(ROLE):
        rank = ("--port", port, "--model", options["--served-model-name"], "--role", role)
        os.execv(sys.executable, [sys.executable, "-m", "forebay", "rank", *rank])


if __name__ == "__main__":
    main()
