"""What a launch template's text says of itself: which arguments it takes, and what it does with them. Pure.

Two sets of positional arguments are in use, and nothing in a template names its own. Where a template puts them does:

| set | arguments |
|---|---|
| main: vllm-ascend's launch_online_dp.py | devices, port, dp_size, rank, dp_address, rpc_port, tp_size |
| 0.9.1: its large-scale EP page | dp_size, dp_ip, dp_port, rank_local, rank, port, size_local |

Read is what a person would look at: `--port $2` against `--port $6`, `VLLM_DP_RANK=$5`, through one variable between
(`PORT=$2`, `--port "$PORT"`). Comments do not count.
"""

from __future__ import annotations

import re
from typing import Literal

import msgspec

from agent.errors import LaunchError

ArgumentSet = Literal["main", "0.9.1"]

_MAIN: dict[str, str] = {
    "port": "2",
    "data-parallel-size": "3", "dp": "3",
    "data-parallel-rank": "4", "dpn": "4",
    "data-parallel-address": "5", "dpa": "5",
    "data-parallel-rpc-port": "6", "dpp": "6",
    "tensor-parallel-size": "7", "tp": "7",
    "ASCEND_RT_VISIBLE_DEVICES": "1", "CUDA_VISIBLE_DEVICES": "1", "HIP_VISIBLE_DEVICES": "1",
}  # fmt: skip
_V091: dict[str, str] = {
    "port": "6",
    "data-parallel-size": "1", "dp": "1",
    "data-parallel-rank": "5", "dpn": "5",
    "data-parallel-address": "2", "dpa": "2",
    "data-parallel-rpc-port": "3", "dpp": "3",
    "VLLM_DP_SIZE": "1", "VLLM_DP_MASTER_IP": "2", "VLLM_DP_MASTER_PORT": "3",
    "VLLM_DP_RANK_LOCAL": "4", "VLLM_DP_RANK": "5", "VLLM_DP_SIZE_LOCAL": "7",
}  # fmt: skip

_COMMENT = re.compile(r"(?:^|(?<=\s))#.*$", re.MULTILINE)
_CONTINUED = re.compile(r"\\\n")
_ARGUMENT = r"[\"']*\$\{?(?P<name>[A-Za-z_]\w*|[1-9])\b"
_ASSIGNED = re.compile(rf"\b(?P<to>[A-Za-z_]\w*)={_ARGUMENT}")
_PASSED = re.compile(rf"(?<![\w-])--?(?P<to>[a-z][\w-]*)[=\s]+{_ARGUMENT}")
_DP = re.compile(r"(?<![\w-])(?:--data[-_]parallel[-_]|-dp[nalprhe]?(?=[\s=]))|\bVLLM_DP_(?:SIZE|RANK)")
_DEVICES_SET = re.compile(r"\b(?:ASCEND_RT|CUDA|HIP|ROCR)_VISIBLE_DEVICES=")
_CONDITION = re.compile(r"^.*(?:\[ |\(\(|\btest |\bcase ).*$", re.MULTILINE)
_VALUE = re.compile(r"\$\{?(\w+)")
_DP_SIZE = {"main": "3", "0.9.1": "1", None: ""}


class TemplateFacts(msgspec.Struct, frozen=True, kw_only=True):
    """`passes_dp`: ranks of it may be members of a DP group. `asks_dp_size`: it decides something by the DP size."""

    takes: ArgumentSet | None
    passes_dp: bool
    asks_dp_size: bool
    sets_devices: bool


def read_text(text: str) -> TemplateFacts:
    """The facts of a template; `takes` is None where the text does not tell."""
    code = _CONTINUED.sub(" ", _COMMENT.sub("", text))
    assigned = {found["to"]: found["name"] for found in _ASSIGNED.finditer(code)}
    used = {(found["to"], found["name"]) for kind in (_PASSED, _ASSIGNED) for found in kind.finditer(code)}
    used = {(to.replace("_", "-") if to.islower() else to, assigned.get(name, name)) for to, name in used}
    is_main = any(_MAIN.get(to) == name for to, name in used)
    is_v091 = any(_V091.get(to) == name for to, name in used)
    takes: ArgumentSet | None = None if is_main == is_v091 else "main" if is_main else "0.9.1"
    asked = {assigned.get(name, name) for line in _CONDITION.findall(code) for name in _VALUE.findall(line)}
    return TemplateFacts(
        takes=takes,
        passes_dp=bool(_DP.search(code)),
        asks_dp_size=_DP_SIZE[takes] in asked,
        sets_devices=bool(_DEVICES_SET.search(code)),
    )


def argument_set(facts: TemplateFacts, asked: Literal["auto", "main", "0.9.1"], path: str) -> ArgumentSet:
    """The set to pass. Raises LaunchError where the template does not tell and nobody does."""
    if asked != "auto":
        return asked
    if facts.takes is None:
        raise LaunchError(
            f"template {path}: it does not show which arguments it takes (--port $2 is main, --port $6 is 0.9.1); "
            "give --template-args main or 0.9.1"
        )
    return facts.takes
