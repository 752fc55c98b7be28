"""The file that a vLLM server was given with `--config`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from agent.auto.arguments import Arguments
from agent.errors import FoundServerError

LARGEST_BYTES = 1 << 20


def config_of(given: Arguments, folder: Path) -> Mapping[str, object]:
    """What the file says, by option; nothing where there is none. `folder` is where the server runs.

    Raises FoundServerError for one that cannot be read.
    """
    name = given.text("config")
    if not name:
        return {}
    path = folder / name
    try:
        with path.open("rb") as file:
            return msgspec.yaml.decode(file.read(LARGEST_BYTES), type=dict[str, object])
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise FoundServerError(f"its --config {path} cannot be read: {error}") from error
