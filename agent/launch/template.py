"""Reads a launch template, and says how it is run."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import msgspec

from agent.errors import LaunchError

_LARGEST_BYTES = 1 << 20
_SHEBANG = re.compile(rb"#!\s*(?:\S*/env\s+(?:-\S+\s+)*)?(?P<program>\S+)")
_SHELLS = {"sh", "bash", "dash", "ash"}


class Template(msgspec.Struct, frozen=True, kw_only=True):
    """A template that can be run: by `program`, in `folder`. `path` is as it was given, `text` what it says."""

    path: str
    text: str
    folder: str
    program: tuple[str, ...]


def read_template(path: str) -> Template:
    """The template at `path`. Raises LaunchError that says what is wrong with it."""
    place = Path(path)
    try:
        raw = _read(place, path)
    except OSError as error:
        raise LaunchError(f"template {path}: {os.strerror(error.errno or 0)}") from error
    if b"\r\n" in raw:
        line = raw[: raw.index(b"\r\n")].count(b"\n") + 1
        raise LaunchError(f"template {path}: line {line} ends in CRLF, which bash takes for part of the line")
    if len(raw) > _LARGEST_BYTES or b"\0" in raw:
        raise LaunchError(f"template {path}: it is no script")
    whole = place.absolute()
    return Template(
        path=path, text=raw.decode(errors="replace"), folder=str(whole.parent), program=_program(whole, raw, path)
    )


def _read(place: Path, path: str) -> bytes:
    if place.is_dir():
        raise LaunchError(f"template {path}: it is a directory")
    if place.exists() and not place.is_file():
        raise LaunchError(f"template {path}: it is no file")
    with place.open("rb") as file:
        return file.read(_LARGEST_BYTES + 1)


def _program(place: Path, raw: bytes, path: str) -> tuple[str, ...]:
    """Bash for shell scripts, executable or not and whatever their first line says, as launch_online_dp.py runs them.

    What is executable and names another interpreter is run by that one. Raises LaunchError where nothing can run it.
    """
    named = _SHEBANG.match(raw)
    interpreter = named["program"].decode(errors="replace") if named else "bash"
    is_executable = os.access(place, os.X_OK)
    if is_executable and Path(interpreter).name not in _SHELLS:
        if shutil.which(interpreter) is None:
            raise LaunchError(f"template {path}: its first line names {interpreter}, which is not there")
        return (f"./{place.name}",)
    if not interpreter.endswith("sh"):
        raise LaunchError(f"template {path}: its first line names {interpreter}, and it is not executable (chmod +x)")
    if shutil.which("bash") is None:
        raise LaunchError(f"template {path}: bash, which runs it, is not installed")
    return ("bash", f"./{place.name}")
