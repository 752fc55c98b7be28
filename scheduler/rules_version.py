"""Which rules a release decides by, as a name: what was decided by others may be decided otherwise by these."""

from __future__ import annotations

from functools import cache
from hashlib import blake2b
from importlib.resources import files

from scheduler.lua import Script, source

MODULES = (
    *("alone", "ask_columns", "breaker", "choice", "decision", "endpoints", "groups", "loads", "messages", "pairing"),
    *("picks", "placeable", "planning", "rank_view", "rebinding", "reservation", "rows", "shortlist", "slow_start"),
    "view",
)
"""Those that plan, besides the policies."""


@cache
def rules_version() -> str:
    """A name for the text of all that decides: policies, planning and scripts, constants and all."""
    folder = files("scheduler")
    texts = [folder.joinpath(f"{name}.py").read_text() for name in MODULES]
    policies = sorted(folder.joinpath("policies").iterdir(), key=lambda file: file.name)
    texts += [file.read_text() for file in policies if file.name.endswith(".py")]
    texts += [source(Script.PLACE), source(Script.REBIND)]
    return blake2b("\0".join(texts).encode(), digest_size=6).hexdigest()
