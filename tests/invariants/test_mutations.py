"""Every mutation still applies to the scripts as they are; that each is noticed is for `make mutants` to show."""

from __future__ import annotations

from importlib.resources import files

import pytest

from tests.invariants.mutation import Mutation, part_text
from tests.invariants.mutations import MUTATIONS


def test_every_mutation_changes_one_line_of_its_script() -> None:
    for mutation in MUTATIONS:
        before = part_text(mutation.part).split("\n")
        after = mutation.apply(part_text(mutation.part)).split("\n")
        assert sum(old != new for old, new in zip(before, after, strict=True)) == 1


def test_every_script_and_every_invariant_that_scripts_keep_has_mutations() -> None:
    scripts = {file.name.removesuffix(".lua") for file in files("scheduler").joinpath("scripts").iterdir()}
    assert {mutation.part for mutation in MUTATIONS} == scripts
    assert {mutation.invariant for mutation in MUTATIONS} == {1, 2, 3, 4, 5, 6, 8, 9, 10, 11, 12, 13}


def test_no_mutation_is_there_twice() -> None:
    assert len(set(MUTATIONS)) == len(MUTATIONS)


@pytest.mark.parametrize("old", ["no such text", "redis", "end\nreturn"])
def test_a_mutation_that_does_not_apply_is_an_error(old: str) -> None:
    with pytest.raises(ValueError, match="places that read"):
        Mutation(3, "open", old, "").apply(part_text("open"))
