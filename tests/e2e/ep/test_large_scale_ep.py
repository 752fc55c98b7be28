"""The topology of the large-scale EP guide: it serves, and survives an agent and a decode rank."""

from collections import Counter
from collections.abc import Callable, Iterator
from itertools import cycle

import anyio
import httpx
import pytest

from benchmarks.replay import encoded_chat
from benchmarks.stream import Answer, stream_chat
from tests.e2e.ep.topology import MODEL, MORTAL, START_S, Topology, topology_running
from tests.polling import until_now
from tests.servers import redis_server

REQUESTS = 500
AT_ONCE = 64
OUTPUT_TOKENS = 8
PREFILL_RANKS, DECODE_RANKS = 8, 64


@pytest.fixture(scope="module")
def topology(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Topology]:
    folder = tmp_path_factory.mktemp("ep")
    with redis_server(folder) as redis, topology_running(folder, redis.url) as running:
        yield running


def assert_nothing_is_left(topology: Topology, *, but: frozenset[str] = frozenset()) -> None:
    """Every rank is up, no reservation is held, and no rank saw its KV misused or left waiting, `but` in these ways."""
    topology.until_up(PREFILL_RANKS + DECODE_RANKS)
    until_now(lambda: topology.status().reservations == 0, "no reservation is left")
    assert {kind for counts in topology.misuses().values() for kind in counts} <= but


def nothing() -> None:
    """What happens in most topologies."""


def chats(topology: Topology, count: int, midway: Callable[[], None] = nothing) -> list[Answer]:
    """Streamed chats of different lengths, over all gateways in turn; when half are answered, `midway` happens."""
    return anyio.run(_chats, topology, count, midway)


async def _chats(topology: Topology, count: int, midway: Callable[[], None]) -> list[Answer]:
    answers: list[Answer] = []
    limit = anyio.CapacityLimiter(AT_ONCE)

    async def chat(url: str, number: int) -> None:
        body = encoded_chat(MODEL, f"{number} " + "water " * (40 + number % 200), OUTPUT_TOKENS)
        async with limit:
            answers.append(await stream_chat(client, url, body))
        if len(answers) == count // 2:
            midway()

    async with (
        httpx.AsyncClient(trust_env=False, timeout=START_S) as client,
        anyio.create_task_group() as tasks,
    ):
        for number, url in zip(range(count), cycle(topology.gateways), strict=False):
            tasks.start_soon(chat, url, number, name=f"chat {number}")
    return answers


def errors(answers: list[Answer]) -> Counter[str]:
    return Counter(answer.error for answer in answers if answer.error)


def used(answers: list[Answer]) -> set[str]:
    return {rank for answer in answers for rank in answer.ranks}


def test_500_requests_through_4_gateways(topology: Topology) -> None:
    answers = chats(topology, REQUESTS)
    assert errors(answers) == {}
    assert {answer.completion_tokens for answer in answers} == {OUTPUT_TOKENS}
    assert len({answer.gateway for answer in answers}) == len(topology.gateways)
    assert set(topology.ranks("prefill")) <= used(answers)
    assert len(used(answers) & set(topology.ranks("decode"))) > DECODE_RANKS // 2
    assert_nothing_is_left(topology)


def test_nothing_happens_when_an_agent_dies(topology: Topology) -> None:
    node = topology.nodes[-1]
    answers = chats(topology, REQUESTS // 5, midway=lambda: topology.kill(f"{node.name}-agent"))
    answers += chats(topology, REQUESTS // 5)
    assert errors(answers) == {}
    assert topology.states() == {"up": PREFILL_RANKS + DECODE_RANKS}
    topology.start_agent(node)
    assert_nothing_is_left(topology)


def test_a_dead_decode_rank_takes_its_group_out_until_it_is_back(topology: Topology) -> None:
    during = chats(topology, 2 * AT_ONCE, midway=lambda: topology.kill(MORTAL))
    assert set(errors(during)) <= {"status 503", "status 502", "error in the stream"}

    def refused() -> bool:
        return set(errors(chats(topology, len(topology.gateways)))) == {"status 503"}

    until_now(refused, "the group has left", within_s=START_S)
    topology.start_mortal()
    topology.until_up(PREFILL_RANKS + DECODE_RANKS)

    def served() -> bool:
        return not errors(chats(topology, len(topology.gateways)))

    until_now(served, "the group is back", within_s=START_S)
    answers = chats(topology, REQUESTS // 5)
    assert errors(answers) == {}
    # What the dead rank was to fetch is kept until its lease ends.
    assert_nothing_is_left(topology, but=frozenset({"unclaimed", "abandoned_kv"}))
