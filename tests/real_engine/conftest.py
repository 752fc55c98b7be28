"""The engines and Forebay before them, once for all checks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.real_engine.asking import CHAT, COMPLETIONS, asked, text_of_words
from tests.real_engine.engine import Engine
from tests.real_engine.install import COMMAND, MODEL
from tests.real_engine.legs import prefill_leg
from tests.real_engine.report import Report
from tests.real_engine.stack import Stack, running_stack
from tests.servers import redis_server

Told = Callable[[str], None]


class Engines(NamedTuple):
    """A plain server of pool `plain`; a prefill and a decode server of pool `pair`."""

    plain: Engine
    prefill: Engine
    decode: Engine


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--report", type=Path, help="page to write what the checks found to")


def pytest_configure(config: pytest.Config) -> None:
    if page := config.getoption("--report"):
        config.pluginmanager.register(Report(page))


@pytest.fixture
def told(record_property: Callable[[str, object], None]) -> Told:
    """Notes something for the report."""
    return lambda text: record_property("told", text)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where every process writes its log."""
    assert COMMAND.exists(), "run `make test-vllm`, which installs the engine"
    assert MODEL.exists(), "run `make test-vllm`, which makes the model"
    return tmp_path_factory.mktemp("real-engine")


@pytest.fixture(scope="session")
def engines(folder: Path) -> Iterator[Engines]:
    """All three, warm."""
    all_three = Engines(
        Engine(folder, "mixed", "plain"), Engine(folder, "prefill", "pair"), Engine(folder, "decode", "pair")
    )
    try:
        for engine in all_three:
            engine.start()
        for engine in all_three:
            engine.wait_until_up()
        for engine in all_three:
            warm_up(engine)
        warm_up_pair(all_three)
        yield all_three
    finally:
        for engine in all_three:
            engine.end()


@pytest.fixture(scope="session")
def plain(engines: Engines) -> Engine:
    return engines.plain


@pytest.fixture(scope="session")
def stack(folder: Path, engines: Engines) -> Iterator[Stack]:
    """Forebay before all of them."""
    with redis_server(folder) as redis, running_stack(folder, redis, *engines) as running:
        yield running


def warm_up(engine: Engine) -> None:
    """What comes first to an engine compiles kernels, for up to half a minute."""
    body = {"model": engine.model, "prompt": "a", "max_tokens": 2, "logprobs": 1, "stop": ["unlikely to come"]}
    assert engine.post(COMPLETIONS, body).status_code == 200
    # The first chat makes what renders it: the server was seen to send nobody anything for five seconds meanwhile.
    assert engine.post(CHAT, asked(CHAT, engine.model, "a")).status_code == 200


def warm_up_pair(engines: Engines) -> None:
    """The first transfer of a pair shakes hands, for up to 20 s on two cores."""
    body = asked(COMPLETIONS, "pair", text_of_words(40, seed=1))
    params = prefill_leg(engines.prefill, COMPLETIONS, body)["kv_transfer_params"]
    assert engines.decode.post(COMPLETIONS, body | {"kv_transfer_params": params}).status_code == 200
