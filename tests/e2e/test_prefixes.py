"""Prompts go where their beginnings are: gateways, agents, simulated ranks and a store, all as real processes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import httpx
import openai
import pytest

from gateway.blocks import BLOCK_BYTES, BLOCK_IDS
from tests.gateway.gateway_process import ForebayProcess, forebay_process
from tests.polling import until_now
from tests.servers import RedisServer, needs_redis, redis_server
from tests.simulator.rank_process import RankProcess, running_rank

pytestmark = needs_redis

OPTIONS = ("--speed", "4", "--prefill-tokens-per-s", "2000", "--max-num-seqs", "1024", "--enable-prompt-tokens-details")
"""They prefill as fast as agents believe of ranks that are new to them, and decode fast."""
SMALL = ("--max-model-len", "16384", "--kv-blocks", "1024")
TURNS = 5
TOOL = {"type": "function", "function": {"name": "look_up", "parameters": {"type": "object", "a": 1, "b": [1, 2]}}}
TURNED = {"function": {"parameters": {"b": [1, 2], "a": 1, "type": "object"}, "name": "look_up"}, "type": "function"}


class Answer(NamedTuple):
    """Which ranks had a hand in it; tokens of the prompt, and those of them that were cached."""

    ranks: frozenset[str]
    prompt_tokens: int
    cached_tokens: int
    text: str


class Fleet:
    """Gateways over ranks of one model; more gateways may join."""

    def __init__(
        self, folder: Path, stack: ExitStack, model: str, redis: RedisServer, ranks: list[RankProcess]
    ) -> None:
        self._folder, self._stack, self._redis = folder, stack, redis
        self.model, self.ranks = model, ranks
        self.gateways: list[ForebayProcess] = []
        for _ in range(2):
            self.join()

    def join(self) -> ForebayProcess:
        """One more gateway, once it knows all ranks."""
        options = ("--redis", self._redis.url, "--explain", "--place-deadline-ms", "2000")
        gateway = self._stack.enter_context(forebay_process(self._folder, "gateway", *options))
        gateway.wait_until_ready()
        until_now(lambda: len(self.spans(gateway)) == len(self.ranks), "the gateway knows all ranks")
        self.gateways.append(gateway)
        return gateway

    def spans(self, gateway: ForebayProcess) -> Mapping[str, float]:
        """For how long a gateway believes that ranks hold things."""
        page = httpx.get(f"{gateway.url}/metrics", trust_env=False).text
        pattern = rf'^forebay_gateway_prefix_span_tokens{{pool="{self.model}",rank="(\S+)"}} (\S+)$'
        return {rank: float(tokens) for rank, tokens in re.findall(pattern, page, re.MULTILINE)}

    def nothing_is_held(self) -> bool:
        """Whether no gateway has a reservation left: a row of theirs is "<number> <reservations> <sum>"."""
        with self._redis.client() as client:
            rows: list[bytes] = client.hvals(f"forebay:1:{{{self.model}}}:gate")
        return all(row.split()[1] == b"0" for row in rows)

    def known_blocks(self) -> int:
        """How many blocks the prefix index of the model knows."""
        with self._redis.client() as client:
            keys: list[bytes] = client.keys(f"forebay:1:{{{self.model}/*")
        return sum(b":believed:" not in key for key in keys)

    def chat(self, gateway: ForebayProcess, messages: Sequence[dict[str, Any]], *, is_new: bool = True) -> Answer:
        """A chat by the OpenAI client; returns when the index knows it, if it has anything new in it."""
        before = self.known_blocks()
        with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key="none", max_retries=0) as client:
            raw = client.chat.completions.with_raw_response.create(
                model=self.model,
                messages=messages,  # type: ignore[arg-type]  # made of parts
                max_tokens=8,
                extra_headers={"x-forebay-explain": "1"},
            )
        if is_new:
            until_now(lambda: self.known_blocks() > before, "the index knows the prompt")
        until_now(self.nothing_is_held, "nothing is held")
        return read(raw.headers, json.loads(raw.content))

    def post(self, gateway: ForebayProcess, path: str, body: str) -> Answer:
        answer = httpx.post(
            gateway.url + path,
            content=body,
            headers={"content-type": "application/json", "x-forebay-explain": "1"},
            trust_env=False,
            timeout=60,
        )
        assert answer.status_code == 200, answer.text
        until_now(self.nothing_is_held, "nothing is held")
        return read(answer.headers, answer.json())


def read(headers: Mapping[str, str], document: Mapping[str, Any]) -> Answer:
    ranks = frozenset(headers[name] for name in ("x-forebay-prefill", "x-forebay-decode") if name in headers)
    usage, choice = document["usage"], document["choices"][0]
    cached_tokens = (usage["prompt_tokens_details"] or {}).get("cached_tokens") or 0
    text = choice["text"] if "text" in choice else choice["message"]["content"]
    return Answer(ranks, usage["prompt_tokens"], cached_tokens, text)


def words(seed: int, count: int) -> str:
    chance = Random(seed)
    return " ".join(f"word{chance.randrange(10**6)}" for _ in range(count))


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis_server(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(scope="module", params=["mixed", "pairs"])
def fleet(
    request: pytest.FixtureRequest, redis: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Fleet]:
    """Three mixed ranks, or two prefill and two decode ranks."""
    model = str(request.param)
    with ExitStack() as stack:
        roles = {"mixed": 3} if model == "mixed" else {"prefill": 2, "decode": 2}
        yield running_fleet(stack, tmp_path_factory.mktemp(model), redis, model, roles)


def running_fleet(
    stack: ExitStack, folder: Path, redis: RedisServer, model: str, roles: Mapping[str, int], *options: str
) -> Fleet:
    ranks: list[RankProcess] = []
    for role, count in roles.items():
        about = ("--model", model, "--role", role)
        some = [stack.enter_context(running_rank(*about, *OPTIONS, *options)) for _ in range(count)]
        addresses = ",".join(f"127.0.0.1:{rank.port}" for rank in some)
        agent = ("--redis", redis.url, *about, "--ranks", addresses)
        stack.enter_context(forebay_process(folder, "agent", *agent)).wait_until_ready()
        ranks += some
    return Fleet(folder, stack, model, redis, ranks)


def test_a_conversation_goes_on_where_it_was_whichever_gateway_it_comes_by(fleet: Fleet) -> None:
    messages: list[dict[str, Any]] = [{"role": "system", "content": words(1, 300)}]
    answers = []
    for turn in range(TURNS):
        messages.append({"role": "user", "content": words(10 + turn, 300)})
        answers.append(fleet.chat(fleet.gateways[turn % 2], messages))
        messages.append({"role": "assistant", "content": answers[-1].text})
    assert answers[0].cached_tokens < BLOCK_BYTES
    for before, after in pairwise(answers):
        assert after.cached_tokens > before.prompt_tokens - BLOCK_IDS
        assert after.ranks & answers[0].ranks


def test_a_gateway_that_starts_later_has_the_same_hits(fleet: Fleet) -> None:
    messages = [{"role": "user", "content": words(100, 900)}]
    first = fleet.chat(fleet.gateways[0], messages)
    asked = [{**messages[0], "content": messages[0]["content"] + " and what of this?"}]
    again = fleet.chat(fleet.gateways[0], asked, is_new=False)
    later = fleet.chat(fleet.join(), asked, is_new=False)
    assert again.cached_tokens > first.prompt_tokens - BLOCK_IDS
    assert later.cached_tokens >= again.cached_tokens
    assert later.ranks & again.ranks & first.ranks


def test_questions_with_one_system_prompt_and_the_same_tools_meet_however_they_are_written(fleet: Fleet) -> None:
    def body(question: str, *, turned: bool = False) -> str:
        said = [{"role": "system", "content": words(200, 900)}, {"role": "user", "content": question}]
        fields: dict[str, Any] = {"model": fleet.model, "messages": said, "tools": [TOOL], "tool_choice": "none"}
        if not turned:
            return json.dumps(fields)
        turned_said = [dict(reversed(each.items())) for each in said]
        other = {
            "temperature": 0.3,
            "seed": 5,
            "tools": [TURNED],
            "top_p": 0.9,
            "messages": turned_said,
            "max_tokens": 6,
            "tool_choice": "none",
        }
        return json.dumps(other | {"model": fleet.model}, indent=2)

    before = fleet.known_blocks()
    first = fleet.post(fleet.gateways[0], "/v1/chat/completions", body("What is it?"))
    until_now(lambda: fleet.known_blocks() > before, "the index knows the prompt")
    for number in range(6):
        gateway = fleet.gateways[number % 2]
        again = fleet.post(gateway, "/v1/chat/completions", body(f"And number {number}?", turned=number % 3 == 0))
        assert again.cached_tokens > 0.8 * first.prompt_tokens
        assert again.ranks & first.ranks


def test_token_ids_are_known_too(fleet: Fleet) -> None:
    chance = Random(3)
    ids = [chance.randrange(1_000, 50_000) for _ in range(6 * BLOCK_IDS)]
    before = fleet.known_blocks()
    for number in range(5):
        body = {"model": fleet.model, "prompt": [*ids, *[number + 7] * 30], "max_tokens": 4}
        answer = fleet.post(fleet.gateways[number % 2], "/v1/completions", json.dumps(body))
        if number == 0:
            until_now(lambda: fleet.known_blocks() > before, "the index knows the prompt")
        assert answer.cached_tokens == (len(ids) if number else 0)


def test_a_rank_that_forgets_at_once_is_believed_to_hold_nothing_by_all(redis: RedisServer, tmp_path: Path) -> None:
    """Half of its capacity makes a window; each prompt is a fifth of it."""
    with ExitStack() as stack:
        fleet = running_fleet(stack, tmp_path, redis, "forgetful", {"mixed": 1}, *SMALL)
        messages = [{"role": "user", "content": words(300, 900)}]
        (full,) = fleet.spans(fleet.gateways[0]).values()
        assert full > 0

        def has_found_out() -> bool:
            for gateway in fleet.gateways:
                fleet.chat(gateway, messages, is_new=False)
                fleet.ranks[0].post("/reset_prefix_cache", None)
            return all(set(fleet.spans(gateway).values()) == {0} for gateway in fleet.gateways)

        until_now(has_found_out, "the gateways believe in nothing", within_s=60)
