"""Pairs over vllm-ascend's connector and over a store of KV, all of it real processes: agents, Redis, a gateway."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, NamedTuple

import httpx
import pytest

from tests.gateway.gateway_process import ForebayProcess, forebay_process
from tests.gateway.running import CHAT, COMPLETIONS
from tests.polling import until_now
from tests.servers import needs_redis, redis_server
from tests.simulator.oracle import right_chat_text, right_text
from tests.simulator.prefill_decode import PrefillDecode, running_pair
from tests.sse import events_of

pytestmark = needs_redis

PROMPT = "A river runs through it and on to the sea. " * 40
MESSAGES = [{"role": "user", "content": PROMPT}]


class Site(NamedTuple):
    """A gateway over two pools, by the connector that their agents were told."""

    gateway: ForebayProcess
    pools: dict[str, PrefillDecode]

    def post(self, path: str, connector: str, **fields: Any) -> httpx.Response:
        """A request for one of the pools; the answer tells its ranks."""
        headers = {"x-forebay-explain": "1"}
        response = httpx.post(
            self.gateway.url + path, json={"model": connector, **fields}, headers=headers, timeout=30, trust_env=False
        )
        assert response.status_code == 200, response.text
        return response

    def shows_pairs(self, connector: str) -> bool:
        """Whether a request of that pool goes to a pair."""
        try:
            return "x-forebay-prefill" in self.post(COMPLETIONS, connector, prompt=PROMPT, max_tokens=1).headers
        except (httpx.TransportError, AssertionError):
            return False


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    with ExitStack() as stack:
        redis = stack.enter_context(redis_server(folder))
        store = ("--kv-connector", "store", "--kv-store", str(folder / "kv"))
        pools: dict[str, PrefillDecode] = {}
        processes: list[ForebayProcess] = []
        kinds: dict[str, tuple[str, ...]] = {"pull": ("--kv-connector", "mooncake_pull"), "store": store}
        for connector, kind in kinds.items():
            # Few tokens a second: it is worth while to prefill elsewhere.
            slow = ("--prefill-tokens-per-s", "500", "--model", connector, "--strict")
            pools[connector] = stack.enter_context(running_pair(*slow, *kind))
            for role, rank in zip(("prefill", "decode"), pools[connector], strict=True):
                about = ("--model", connector, "--role", role, "--connector", connector)
                ranks = ("--ranks", f"127.0.0.1:{rank.port}", "--prefill-tokens-per-s", "500")
                agent = forebay_process(folder, "agent", "--redis", redis.url, *about, *ranks)
                processes.append(stack.enter_context(agent))
        options = ("--redis", redis.url, "--explain", "--policy", "forebay_pairs")
        gateway = stack.enter_context(forebay_process(folder, "gateway", *options))
        for process in (*processes, gateway):
            process.wait_until_ready()
        site = Site(gateway, pools)
        for connector in pools:
            until_now(lambda pool=connector: site.shows_pairs(pool), f"the gateway pairs {connector}")  # type: ignore[misc]
        yield site


@pytest.mark.parametrize("connector", ["pull", "store"])
def test_a_request_is_served_by_both_ranks_of_its_pool(site: Site, connector: str) -> None:
    whole = site.post(COMPLETIONS, connector, prompt=PROMPT, max_tokens=20, ignore_eos=True)
    assert whole.json()["choices"][0]["text"] == right_text(PROMPT, 20, ignore_eos=True)
    prefill, decode = site.pools[connector]
    found = [whole.headers[f"x-forebay-{role}"] for role in ("prefill", "decode")]
    assert found == [f"127.0.0.1:{prefill.port}", f"127.0.0.1:{decode.port}"]
    fetched = decode.series("vllm:prompt_tokens_by_source_total")
    assert sum(value for labels, value in fetched.items() if "external_kv" in labels) > 0


@pytest.mark.parametrize("connector", ["pull", "store"])
def test_a_stream_is_the_models_own(site: Site, connector: str) -> None:
    streamed = site.post(CHAT, connector, messages=MESSAGES, max_tokens=20, ignore_eos=True, stream=True)
    deltas = [choice["delta"].get("content", "") for event in events_of(streamed.text) for choice in event["choices"]]
    assert "".join(deltas) == right_chat_text(MESSAGES, 20, ignore_eos=True)
