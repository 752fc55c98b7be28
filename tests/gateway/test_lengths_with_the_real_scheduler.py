"""Ranks of different context lengths in one pool, over real processes."""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, NamedTuple

import httpx
import pytest

from tests.gateway.gateway_process import ForebayProcess, forebay_process
from tests.gateway.running import COMPLETIONS
from tests.polling import until_now
from tests.servers import needs_redis, redis_server
from tests.simulator.rank_process import running_rank

pytestmark = needs_redis

SHORT, LONG = 512, 4096


class Lengths(NamedTuple):
    """A gateway over two short ranks and a long one."""

    gateway: ForebayProcess
    long: str

    def asked(self, **fields: Any) -> httpx.Response:
        url = f"http://127.0.0.1:{self.gateway.port}{COMPLETIONS}"
        body = {"model": "sim", "max_tokens": 2, **fields}
        return httpx.post(url, json=body, headers={"x-forebay-explain": "1"}, trust_env=False, timeout=30)


@pytest.fixture(scope="module")
def lengths(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lengths]:
    folder = tmp_path_factory.mktemp("lengths")
    with ExitStack() as stack:
        redis = stack.enter_context(redis_server(folder))
        of = (SHORT, SHORT, LONG)
        ranks = [stack.enter_context(running_rank("--speed", "10", "--max-model-len", str(each))) for each in of]
        names = [f"127.0.0.1:{rank.port}" for rank in ranks]
        about = ("--model", "sim", "--role", "mixed", "--ranks", ",".join(names))
        stack.enter_context(forebay_process(folder, "agent", "--redis", redis.url, *about)).wait_until_ready()
        gateway = stack.enter_context(forebay_process(folder, "gateway", "--redis", redis.url, "--explain"))
        gateway.wait_until_ready()
        served = Lengths(gateway, names[-1])
        until_now(lambda: served.asked(prompt="x").status_code == 200, "ranks are known")
        yield served


@pytest.mark.parametrize(
    "fields",
    [{"prompt": [7] * SHORT}, {"prompt": [7] * 8, "max_tokens": SHORT}, {"prompt": "word " * 2 * SHORT}],
    ids=["ids", "a limit", "text"],
)
def test_what_only_the_long_rank_can_serve_goes_there_each_time(lengths: Lengths, fields: dict[str, Any]) -> None:
    for _ in range(6):
        answer = lengths.asked(**fields)
        assert (answer.status_code, answer.headers["x-forebay-decode"]) == (200, lengths.long)


def test_what_no_rank_can_serve_is_refused_in_an_engines_words(lengths: Lengths) -> None:
    answer = lengths.asked(prompt=[7] * LONG)
    assert (answer.status_code, "maximum context length" in answer.text) == (400, True)
