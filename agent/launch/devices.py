"""Which devices a rank gets, and how it is told. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Literal

from agent.errors import LaunchError

DeviceKind = Literal["ascend", "cuda", "rocm", "none"]

VARIABLES = {
    "ascend": "ASCEND_RT_VISIBLE_DEVICES",
    "cuda": "CUDA_VISIBLE_DEVICES",
    "rocm": "HIP_VISIBLE_DEVICES",
}
_NUMBERS = re.compile(r"(\d{1,4})(?:-(\d{1,4}))?")
_NAME = re.compile(r"(?:GPU|MIG)-[\w/-]+")
"""CUDA also takes devices by their UUIDs."""


def parse_devices(text: str) -> tuple[str, ...]:
    """The devices of `0-3`, `0,2,4` or `GPU-<uuid>,...`, in order. Raises LaunchError that quotes the bad part."""
    devices: list[str] = []
    for part in text.split(","):
        devices += _parse_part(part.strip())
    for device in devices:
        if devices.count(device) > 1:
            raise LaunchError(f"--devices: {device} is given twice")
    return tuple(devices)


def _parse_part(part: str) -> list[str]:
    if _NAME.fullmatch(part):
        return [part]
    match = _NUMBERS.fullmatch(part)
    if match is None:
        raise LaunchError(f"--devices: '{part}' is neither N nor N-N nor a GPU's UUID")
    first, last = int(match[1]), int(match[2] or match[1])
    if last < first:
        raise LaunchError(f"--devices: '{part}' is a range that ends before it starts")
    return [str(device) for device in range(first, last + 1)]


def node_devices(asked: str, kind: DeviceKind, environment: Mapping[str, str], needed: int) -> tuple[str, ...]:
    """The devices for a node's ranks: those asked for, else those the agent itself may see, else 0, 1, ...

    Raises LaunchError for a text that cannot be read, and for fewer than `needed`.
    """
    visible = environment.get(VARIABLES.get(kind, ""), "")
    text = asked or visible
    if not text:
        return tuple(str(device) for device in range(needed))
    devices = parse_devices(text)
    if len(devices) < needed:
        where = "--devices" if asked else VARIABLES[kind]
        raise LaunchError(f"{where}: the ranks need {needed} devices, and {text} is {len(devices)}")
    return devices


def devices_of(devices: Sequence[str], index: int, tp_size: int) -> str:
    """The devices of the node's rank `index`, as the variables list them."""
    return ",".join(devices[index * tp_size : (index + 1) * tp_size])
