"""Real ranks, agents, gateway and Redis: pairs whose legs start at once, also when a prefill rank was restarted."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path

import httpx
import pytest

from simulator.misuse import Kind
from tests.gateway.gateway_process import ForebayProcess, forebay_process
from tests.polling import until_now
from tests.ports import free_ports
from tests.servers import redis_server
from tests.simulator.joint_ranks import CONNECTORS, decode_rank, prefill_rank
from tests.simulator.oracle import right_text
from tests.simulator.rank_process import RankProcess

TIMES = ("--kv-wait-ms", "60000", "--kv-lease-ms", "60000")
PROMPT = "Of one river and the next " * 40
WITHIN_S = 30.0


def ask(gateway: ForebayProcess, number: int) -> httpx.Response:
    body = {"model": "sim", "prompt": f"{number} {PROMPT}", "max_tokens": 12, "ignore_eos": True}
    return httpx.post(f"{gateway.url}/v1/completions", json=body, trust_env=False, timeout=WITHIN_S)


def serves_something(gateway: ForebayProcess) -> bool:
    models = httpx.get(f"{gateway.url}/v1/models", trust_env=False, timeout=WITHIN_S)
    return models.status_code == 200 and bool(models.json()["data"])


def is_right(gateway: ForebayProcess, number: int) -> bool:
    response = ask(gateway, number)
    assert response.status_code == 200, response.text
    return bool(response.json()["choices"][0]["text"] == right_text(f"{number} {PROMPT}", 12, ignore_eos=True))


def fetched(decode: RankProcess) -> float:
    """Prompt tokens that came from a prefill rank."""
    series = decode.series("vllm:prompt_tokens_by_source_total")
    return sum(value for labels, value in series.items() if "external_kv" in labels)


@contextmanager
def begun(folder: Path, url: str, connector: str, prefill: int, decode: int, meeting: int) -> Iterator[ForebayProcess]:
    """A gateway, and an agent for each of two ranks at these ports, all of which may start at once."""
    common = ("--redis", url, "--model", "sim", "--connector", connector, "--bootstrap-port", str(meeting))
    fast = ("--scrape-ms", "100", "--idle-scrape-ms", "100")
    with ExitStack() as stack:
        for role, port in (("prefill", prefill), ("decode", decode)):
            ranks = ("--role", role, "--ranks", f"127.0.0.1:{port}", "--node", role)
            stack.enter_context(forebay_process(folder, "agent", *common, *ranks, *fast))
        yield stack.enter_context(
            forebay_process(folder, "gateway", "--redis", url, "--policy", "forebay_pairs", "--rank-wait-ms", "30000")
        )


@pytest.mark.parametrize("connector", CONNECTORS)
def test_answers_are_the_models_own_also_after_a_prefill_rank_was_restarted(tmp_path: Path, connector: str) -> None:
    at, decode_at, meeting = free_ports(3)
    numbers = count()
    with redis_server(tmp_path) as redis, begun(tmp_path, redis.url, connector, at, decode_at, meeting) as gateway:
        options = (*TIMES, "--port", str(at))
        known: set[Kind] = {"abandoned_kv", "waited_out"}
        with decode_rank(connector, *TIMES, "--port", str(decode_at), misuse=known) as decode:
            for _ in range(2):
                before = fetched(decode)
                with prefill_rank(connector, *options, misuse=known, port=meeting):
                    gateway.wait_until_ready()
                    until_now(lambda: serves_something(gateway), "the model has ranks", within_s=WITHIN_S)
                    until_now(
                        lambda before=before: is_right(gateway, next(numbers)) and fetched(decode) > before,  # type: ignore[misc]
                        "the prefill rank is used",
                        within_s=WITHIN_S,
                    )
                    assert all(is_right(gateway, next(numbers)) for _ in range(3))
