"""The name of the rules that a release decides by."""

from __future__ import annotations

import ast
from importlib.resources import files

from scheduler.rules_version import MODULES

PLANNING = {"planning", "rebinding", "alone", "ask_columns"}
RECORDED = {"errors", "prefix_calibration"}
"""What these have is told, and decides nothing of a placement."""


def imported(module: str) -> set[str]:
    """The modules of the scheduler that one imports, by name, but for the policies, all of which count."""
    tree = ast.parse(files("scheduler").joinpath(f"{module}.py").read_text())
    names = [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    inside = {name.removeprefix("scheduler.") for name in names if name.startswith("scheduler.")}
    return {name for name in inside if not name.startswith("policies")}


def test_all_that_a_plan_is_made_by_counts() -> None:
    found, new = set[str](), PLANNING
    while new:
        found |= new
        new = set[str]().union(*map(imported, new)) - found
    assert found - RECORDED == set(MODULES)
