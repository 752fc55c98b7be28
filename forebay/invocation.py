"""How this process was called, where what it says depends on that. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import NamedTuple


class Invocation(NamedTuple):
    """`program` calls `forebay` again from a shell; `redis_given_by` is the option or variable that had the URL."""

    program: str
    redis_given_by: str


def program(interpreter_words: Sequence[str], words: Sequence[str]) -> str:
    """What stood before our own arguments, for a shell: the script, or the interpreter with `-m forebay`.

    The words are `sys.orig_argv` and `sys.argv`: https://docs.python.org/3/library/sys.html#sys.orig_argv
    """
    before = interpreter_words[: len(interpreter_words) - len(words) + 1]
    # A script starts with a line that names its interpreter.
    return shlex.join(before if "-m" in before else words[:1])
