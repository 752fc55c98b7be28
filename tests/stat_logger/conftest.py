"""A socket that an agent may take, and what pushes to it."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import pytest
from forebay_stat_logger.logger import ForebayStatLogger
from forebay_stat_logger.pushing import Pushing
from forebay_stat_logger.sender import Sender


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "stats.sock"


@pytest.fixture
def pushing(path: Path) -> Iterator[Pushing]:
    """Of engine 3."""
    with closing(Pushing([3], Sender(str(path)))) as pushing:
        yield pushing


@pytest.fixture
def logger(path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ForebayStatLogger]:
    """Of engines 4 and 5, as vLLM makes it."""
    monkeypatch.setenv("FOREBAY_STAT_SOCKET", str(path))
    config = SimpleNamespace(parallel_config=SimpleNamespace(_api_process_rank=0, _api_process_count=1))
    with closing(ForebayStatLogger(vllm_config=config, engine_indexes=[4, 5])) as logger:
        yield logger
