"""What stands on the PATH as `vllm` in tests of launch templates: it records its call and becomes a simulated rank."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NamedTuple

CALLS = "FAKE_VLLM_CALLS"
"""The folder that has what each port was served with."""
ROLE = "FAKE_VLLM_ROLE"
"""The simulated rank's; without it there is none, and the call is only recorded."""

_SCRIPT = f"""\
#!/bin/bash
[ "$1" = serve ] || exit 2
for word in "$@"; do
    case $before in --port) port=$word ;; --served-model-name) name=$word ;; esac
    before=$word
done
printf '%s\\0' "$@" > "${CALLS}/$port.arguments"
env -0 > "${CALLS}/$port.environment"
[ -z "${ROLE}" ] || exec {sys.executable} -m forebay rank --port "$port" --model "$name" --role "${ROLE}"
"""


class Call(NamedTuple):
    """One call of `vllm serve`: its options, each with its value, that of a flag empty; and its environment."""

    options: dict[str, str]
    environment: dict[str, str]


def put_on_path(folder: Path) -> Path:
    """The folder that has the command `vllm`, within `folder`."""
    place = folder / "bin"
    if not place.exists():
        place.mkdir()
        command = place / "vllm"
        command.write_text(_SCRIPT)
        command.chmod(0o755)
    return place


def calls(folder: Path) -> list[Call]:
    """What was recorded, by port."""
    found = []
    for file in sorted(folder.glob("*.arguments")):
        _serve, _model, *arguments = file.read_text().split("\0")[:-1]
        variables = file.with_suffix(".environment").read_text().split("\0")[:-1]
        environment = dict(variable.split("=", 1) for variable in variables)
        found.append(Call(_options(arguments), environment))
    return found


def _options(arguments: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    name = ""
    for argument in arguments:
        if argument.startswith("--"):
            name = argument
            assert name not in found, f"{name} is given twice"
            found[name] = ""
        else:
            assert not found[name], f"{name} has two values"
            found[name] = argument
    return found
