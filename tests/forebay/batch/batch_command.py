"""`forebay batch` as tests call it, and the files it reads and writes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from forebay.main import main

COMPLETIONS = "/v1/completions"


def line(custom_id: str, url: str = COMPLETIONS, method: str = "POST", **body: object) -> str:
    """One line of the input."""
    asked = {"model": "sim", **({"prompt": custom_id} if url == COMPLETIONS else {}), **body}
    return json.dumps({"custom_id": custom_id, "method": method, "url": url, "body": asked})


def written(path: Path, lines: Iterable[str]) -> str:
    path.write_text("".join(each + "\n" for each in lines))
    return str(path)


def batch(*arguments: str, stdin: str | None = None) -> Result:
    ours = {name: None for name in os.environ if name.startswith("FOREBAY_")}
    return CliRunner().invoke(main, ["batch", *arguments], env=ours, input=stdin)


def batch_process(*arguments: str, stdin: int | None = None) -> subprocess.Popen[str]:
    ours = {name: value for name, value in os.environ.items() if not name.startswith("FOREBAY_")}
    return subprocess.Popen(
        [sys.executable, "-m", "forebay", "batch", *arguments],
        env=ours,
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def answers(output: Path) -> list[dict[str, Any]]:
    return [json.loads(each) for each in output.read_text().splitlines()]


def ids(output: Path) -> list[str]:
    return [each["custom_id"] for each in answers(output)]
