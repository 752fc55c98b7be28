"""One changed line in one part of the scripts, and the text that results; the product's files stay as they are."""

from __future__ import annotations

import os
from functools import cache
from importlib.resources import files

import msgspec

from scheduler.lua import Script, source

VARIABLE = "FOREBAY_TEST_MUTATION"
"""Environment variable with the mutation, as JSON, that the scripts under test carry; absent: none."""


class Mutation(msgspec.Struct, frozen=True):
    """In scripts/<part>.lua `old`, a piece of one line that is there once, becomes `new`; that breaks `invariant`."""

    invariant: int
    part: str
    old: str
    new: str

    def apply(self, text: str) -> str:
        """The part's text, changed. Raises ValueError if `old` is not there exactly once, or spans lines."""
        if text.count(self.old) != 1 or "\n" in self.old:
            raise ValueError(f"{self.part}.lua has {text.count(self.old)} places that read {self.old!r}")
        return text.replace(self.old, self.new)


def part_text(part: str) -> str:
    """The text of scripts/<part>.lua."""
    return files("scheduler").joinpath("scripts", f"{part}.lua").read_text()


@cache
def script_text(script: Script) -> str:
    """What a store under test runs: the script, with the mutation of this process, if it has one."""
    text, chosen = source(script), os.environ.get(VARIABLE)
    if chosen is None:
        return text
    mutation = msgspec.json.decode(chosen, type=Mutation)
    original = part_text(mutation.part)
    return text.replace(original, mutation.apply(original))
