"""Reads compose files as Docker would, and turns a service into the same process on this machine.

Only what this project's files use of the specification: interpolation, overrides by maps, and appended ports.
"""

import json
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parent.parent

VARIABLE = re.compile(r"\$\{(?P<name>\w+)(?:(?P<rule>:-|:\?)(?P<text>[^}]*))?\}")
"""`${NAME}`, `${NAME:-default}` and `${NAME:?complaint}`."""


class MissingVariableError(Exception):
    """A `${NAME:?complaint}` without a value; says the name and the complaint."""


@dataclass(frozen=True)
class Process:
    """One service as a local process; `health` is None where the file asks for no check."""

    command: list[str]
    environment: dict[str, str]
    health: list[str] | None


def load(*paths: str, variables: Mapping[str, str]) -> dict[str, Any]:
    """The files as one, overrides last, with the variables filled in.

    Raises MissingVariableError for a variable that the files insist on.
    """
    merged: dict[str, Any] = {}
    for path in paths:
        merged = _merge(merged, yaml.safe_load((ROOT / path).read_text()))
    filled: dict[str, Any] = _interpolate(merged, variables)
    return filled


def _merge(base: dict[str, Any], override: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in override.items():
        if isinstance(value, dict) and isinstance(base.get(key), dict):
            merged[key] = _merge(base[key], value)
        elif key == "ports":
            merged[key] = [*base.get(key, []), *value]
        else:
            merged[key] = value
    return merged


def _interpolate(value: Any, variables: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _interpolate(item, variables) for key, item in value.items()}
    if isinstance(value, list):
        return [_interpolate(item, variables) for item in value]
    if isinstance(value, str):
        return VARIABLE.sub(lambda match: _filled(match, variables), value)
    return value


def _filled(match: re.Match[str], variables: Mapping[str, str]) -> str:
    value = variables.get(match["name"], "")
    if value or match["rule"] is None:
        return value
    if match["rule"] == ":?":
        raise MissingVariableError(f"{match['name']}: {match['text']}")
    return match["text"]


def active_services(file: Mapping[str, Any], *profiles: str) -> dict[str, Any]:
    """The services that `docker compose --profile ... up` starts."""
    return {
        name: service
        for name, service in file["services"].items()
        if not service.get("profiles") or set(service["profiles"]) & set(profiles)
    }


def as_process(
    name: str,
    service: Mapping[str, Any],
    listens: Mapping[str, tuple[int, int]],
    variables: Mapping[str, str],
) -> Process:
    """The service's very command, environment and health check, moved to 127.0.0.1.

    `listens` maps each service to its port in its container and the one to use here.
    """

    def moved(text: str) -> str:
        return move(text, name, listens)

    environment = {
        key: variables.get(key) if value is None else str(value)
        for key, value in service.get("environment", {}).items()
    }
    entrypoint = _entrypoint() if service["image"] == "forebay" else []
    health = service.get("healthcheck")
    return Process(
        [_program(part) for part in [*entrypoint, *map(moved, service["command"])]],
        {key: moved(value) for key, value in environment.items() if value is not None},
        None if health is None else [_program(moved(part)) for part in health["test"][1:]],
    )


def move(text: str, own: str, listens: Mapping[str, tuple[int, int]]) -> str:
    """The text with each `service:port`, any-address and port of the service `own` as they are here."""
    here = {f"{name}:{inside}": f"127.0.0.1:{port}" for name, (inside, port) in listens.items()}
    here["0.0.0.0"] = "127.0.0.1"
    if own in listens:
        inside, port = listens[own]
        here[str(inside)] = str(port)
    longest_first = sorted(here, key=len, reverse=True)
    places = re.compile(r"(?<![\w.-])(?:" + "|".join(map(re.escape, longest_first)) + r")(?![\w.])")
    return places.sub(lambda match: here[match[0]], text)


def _entrypoint() -> list[str]:
    found = re.search(r"^ENTRYPOINT (\[.*\])$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert found is not None
    entrypoint: list[str] = json.loads(found[1])
    return entrypoint


def _program(part: str) -> str:
    """What the image has on its PATH, as the environment of this test has it."""
    return str(Path(sys.executable).with_name(part)) if part in {"forebay", "python"} else part
