"""Requests whose ranks fail, over two gateways and a store, all as real processes: all are answered, nothing stays."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager

import httpx
import pytest

from scheduler.keys import PoolKeys
from scheduler.store import Store, open_store
from tests.gateway.gateway_process import START_S, forebay_process
from tests.gateway.running import COMPLETIONS
from tests.gateway.test_with_the_real_scheduler import Fleet, knows_the_model
from tests.invariants.recount import count_of, recount
from tests.polling import until, until_now
from tests.servers import needs_redis, redis_server
from tests.simulator.oracle import right_text
from tests.simulator.rank_process import running_rank
from tests.sse import documents_of

pytestmark = needs_redis

REQUESTS = 60
TOKENS = 12


@pytest.fixture
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Two gateways over four ranks."""
    folder = tmp_path_factory.mktemp("retries")
    with ExitStack() as stack:
        redis = stack.enter_context(redis_server(folder))
        ranks = [stack.enter_context(running_rank("--speed", "10")) for _ in range(4)]
        addresses = ",".join(f"127.0.0.1:{rank.port}" for rank in ranks)
        about = ("--model", "sim", "--role", "mixed", "--ranks", addresses)
        agent = stack.enter_context(forebay_process(folder, "agent", "--redis", redis.url, *about))
        options = ("--redis", redis.url, "--admin-key", "root", "--place-deadline-ms", "2000")
        gateways = [stack.enter_context(forebay_process(folder, "gateway", *options)) for _ in range(2)]
        for process in (agent, *gateways):
            process.wait_until_ready()
        until_now(lambda: all(map(knows_the_model, gateways)), "the gateways know the model")
        yield Fleet(redis.url, gateways, ranks)


async def hash_of(store: Store, key: str) -> dict[str, str]:
    cells = iter(await store.command("HGETALL", key))
    return {name.decode(): value.decode() for name, value in zip(cells, cells, strict=True)}


async def the_ledger_is_empty(fleet: Fleet) -> bool:
    """No reservation is in it, and what it says they add up to is what a recount says."""
    keys = PoolKeys("sim")
    async with open_store(fleet.redis_url) as store:
        held = [await hash_of(store, keys.live(name)) for name in await hash_of(store, keys.gate)]
        count = count_of(await hash_of(store, keys.load), await hash_of(store, keys.group))
    return not any(held) and count == recount([])


@asynccontextmanager
async def asking(fleet: Fleet) -> AsyncIterator[list[httpx.Response]]:
    """Requests that come all through the block, streamed and not; their answers, once it has ended."""
    answers: list[httpx.Response] = []

    async def ask(client: httpx.AsyncClient, number: int) -> None:
        await asyncio.sleep(number * 0.02)
        body = {"model": "sim", "prompt": f"Story {number}", "max_tokens": TOKENS, "ignore_eos": True}
        url = fleet.gateways[number % 2].url + COMPLETIONS
        answer = await client.post(url, json=body | {"stream": number % 3 == 0})
        answer.extensions["story"] = number
        answers.append(answer)

    async with httpx.AsyncClient(trust_env=False, timeout=60) as client, asyncio.TaskGroup() as tasks:
        for number in range(REQUESTS):
            tasks.create_task(ask(client, number))
        yield answers


def text_of(answer: httpx.Response) -> str:
    if answer.headers["content-type"].startswith("text/event-stream"):
        return "".join(event["choices"][0]["text"] for event in documents_of(answer.text) if "choices" in event)
    text: str = answer.json()["choices"][0]["text"]
    return text


def retried(fleet: Fleet) -> int:
    pages = [httpx.get(f"{gateway.url}/metrics", trust_env=False, timeout=START_S).text for gateway in fleet.gateways]
    return sum('forebay_gateway_retries_total{pool="sim",reason=' in page for page in pages)


async def test_while_a_rank_answers_with_errors_and_one_is_killed_every_request_is_answered_once(
    fleet: Fleet,
) -> None:
    failing, killed, *_ = fleet.ranks
    failing.post("/sim/fault", {"kind": "error", "status": 503, "count": 25})
    async with asking(fleet) as answers:
        await until(lambda: len(answers) >= REQUESTS // 3, "a third of the requests is answered")
        killed.process.kill()
    assert {answer.status_code for answer in answers} == {200}
    assert len(answers) == REQUESTS
    for answer in answers:
        right = right_text(f"Story {answer.extensions['story']}", TOKENS, ignore_eos=True)
        if '"error"' in answer.text:
            begun = text_of(answer)
            assert begun, "only streams that have begun on the killed rank may end with an error"
            assert right.startswith(begun)
        else:
            assert text_of(answer) == right
    assert retried(fleet) == len(fleet.gateways)
    await until(fleet.nothing_is_held, "nothing is held")
    await until(lambda: the_ledger_is_empty(fleet), "the ledger is empty, and says so")
