"""The arguments of a vLLM server as its own parser takes them (vllm/utils/argparse_utils.py of 0.32). Pure.

`_` in an option's name is `-`; `--option=value`, `--option value` and several values after one option are the same;
`--kv-transfer-config.kv_role kv_both` sets one key of a JSON object. What a `--config` file says comes before what the
command line says.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from agent.errors import FoundServerError

SHORT = {
    "-dp": "data-parallel-size",
    "-dpa": "data-parallel-address",
    "-dpe": "data-parallel-external-lb",
    "-dph": "data-parallel-hybrid-lb",
    "-dpl": "data-parallel-size-local",
    "-dpm": "data-parallel-multi-port-external-lb",
    "-dpn": "data-parallel-rank",
    "-dpp": "data-parallel-rpc-port",
    "-dpr": "data-parallel-start-rank",
    "-tp": "tensor-parallel-size",
    "-pp": "pipeline-parallel-size",
}
"""Those that say something of ranks; the others' values are skipped with them."""

OPTION = re.compile(r"--?[A-Za-z]")
"""A value may begin with a dash too: a negative number."""


class Arguments:
    """What a server was told: options by name, and the model where it stands without one."""

    def __init__(self, words: Sequence[str]) -> None:
        self.model = ""
        self._values: dict[str, list[str]] = {}
        self._objects: dict[str, dict[str, Any]] = {}
        name = ""
        for word in words:
            if OPTION.match(word):
                name = self._begun(word)
            elif name:
                self._add(name, word)
            else:
                self.model = self.model or word

    def over(self, config: Mapping[str, object]) -> Arguments:
        """The same with what a config file says where nothing is said here."""
        words: list[str] = []
        for key, value in config.items():
            match value:
                case bool():
                    words += [f"--{key}"] if value else []
                case dict():
                    words += [f"--{key}", msgspec.json.encode(value).decode()]
                case list():
                    words += [f"--{key}", *map(str, value)]
                case _:
                    words += [f"--{key}", str(value)]
        below = Arguments(words)
        both = Arguments(())
        both.model = self.model or below.model
        both._values = below._values | self._values
        both._objects = below._objects | self._objects
        return both

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def text(self, name: str, default: str = "") -> str:
        """The value of an option, the first where there are several."""
        return next(iter(self._values.get(name, ())), default)

    def number(self, name: str, default: int) -> int:
        """A whole number. Raises FoundServerError."""
        value = self.text(name)
        if not value:
            return default
        try:
            return int(value)
        except ValueError:
            raise FoundServerError(f"--{name} {value} is no whole number") from None

    def object(self, name: str) -> Mapping[str, Any]:
        """A JSON object, with the keys that were given one by one. Raises FoundServerError."""
        value = self.text(name) or "{}"
        try:
            decoded = msgspec.json.decode(value, type=dict[str, Any])
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise FoundServerError(f"--{name} is no JSON object: {error}") from None
        return decoded | self._objects.get(name, {})

    def _begun(self, word: str) -> str:
        """Takes in an option's name, and its value if they are one word."""
        name, equals, value = word.partition("=")
        full = SHORT.get(name) or name.lstrip("-").replace("_", "-")
        head, dot, key = full.partition(".")
        full = f"{head}.{key.replace('-', '_')}" if dot else full
        if not dot:
            self._values[full] = []
        if equals:
            self._add(full, value)
            return ""
        return full

    def _add(self, name: str, value: str) -> None:
        head, dot, key = name.partition(".")
        if dot:
            self._objects.setdefault(head, {})[key] = value
        else:
            self._values[name].append(value)
