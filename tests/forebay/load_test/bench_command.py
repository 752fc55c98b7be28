"""`forebay bench` as tests of its load test call it, and events that servers answer it with."""

import os

from click.testing import CliRunner, Result

from forebay.main import main

TEXT = b'data: {"choices":[{"index":0,"delta":{"content":"a"}}]}\n\n'
ROLE = b'data: {"choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}\n\n'
USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":3}}\n\n'
DONE = b"data: [DONE]\n\n"


def bench(*arguments: str, **variables: str) -> Result:
    ours: dict[str, str | None] = {name: None for name in os.environ if name.startswith("FOREBAY_")}
    return CliRunner().invoke(main, ["bench", *arguments], env=ours | variables)
