"""Two gateways, an agent and two ranks as the processes users start, each on a link of its own to the store."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import redis
from click.testing import CliRunner

from forebay.main import main
from tests.e2e.outages.ledger import books_of
from tests.gateway.gateway_process import START_S, ForebayProcess, forebay_process
from tests.link_thread import LinkThread, link_to
from tests.polling import until_now
from tests.ports import HOST
from tests.servers import RedisServer
from tests.simulator.rank_process import running_rank

RANK = ("--decode-step-ms", "4", "--max-num-seqs", "256")
ADMIN_KEY = "an-administrator"
GATEWAY = ("--lame-duck-ms", "0", "--drain-s", "1", "--admin-key", ADMIN_KEY)

LOOK_S = 0.02
"""Between two looks at processes that have other things to do."""

Url = Callable[[], tuple[str, LinkThread | None]]
"""Answers where a process finds the store, and its link if it has one."""


class Member(NamedTuple):
    """A process that uses the store."""

    process: ForebayProcess
    link: LinkThread | None
    http: httpx.Client

    @property
    def pid(self) -> int:
        return self.process.process.pid

    def get(self, path: str) -> httpx.Response:
        return self.http.get(self.process.url + path, headers={"authorization": f"Bearer {ADMIN_KEY}"})

    def refuses(self, *paths: str) -> bool:
        """Whether it listens, and answers 503 on all of these."""
        with suppress(httpx.TransportError):
            return {self.get(path).status_code for path in paths} == {503}
        return False

    def state(self) -> dict[str, Any]:
        """What a gateway says it holds, and its name."""
        return dict(self.get("/admin/state").json())

    def is_degraded(self) -> bool:
        """What a gateway's /readyz says, which is 200 all the while."""
        answer = self.get("/readyz")
        assert answer.status_code == 200, answer.text
        return bool(answer.json()["degraded"])


class Site:
    """The processes, and `redis`, a client of the store."""

    def __init__(self, folder: Path, stack: ExitStack, url: Url) -> None:
        self._folder, self._stack, self._url = folder, stack, url
        self._status_url, _ = url()
        self._http = stack.enter_context(httpx.Client(trust_env=False, timeout=START_S))
        self.ranks = [stack.enter_context(running_rank(*RANK)) for _ in range(2)]
        self.agent = self.join_agent()
        self.gateways = [self.join_gateway() for _ in range(2)]

    def join_gateway(self) -> Member:
        return self._join("gateway", *GATEWAY)

    def join_agent(self) -> Member:
        ranks = ",".join(f"{HOST}:{rank.port}" for rank in self.ranks)
        return self._join("agent", "--model", "sim", "--role", "mixed", "--ranks", ranks, "--max-num-seqs", "256")

    def restart_rank(self, index: int) -> None:
        """Kills it and starts another life of it on its port."""
        rank = self.ranks[index]
        rank.process.kill()
        rank.process.wait()
        self.ranks[index] = self._stack.enter_context(running_rank(*RANK, "--port", str(rank.port)))

    def answers(self) -> None:
        """Has each gateway answer a request now, whatever state it is in."""
        for gateway in self.gateways:
            body = {"model": "sim", "prompt": "One more", "max_tokens": 1}
            answer = self._http.post(f"{gateway.process.url}/v1/completions", json=body)
            assert answer.status_code == 200, answer.text

    def status(self) -> dict[str, Any]:
        """What `forebay status` shows."""
        ours = {name: None for name in os.environ if name.startswith("FOREBAY_")}
        done = CliRunner().invoke(main, ["status", "--json", "--redis", self._status_url], env=ours)
        assert done.exit_code == 0, done.output
        return dict(json.loads(done.stdout))

    def incarnations(self) -> set[tuple[str, str]]:
        """The ranks' names, each with its life."""
        return {(rank["rank"], rank["incarnation"]) for rank in self.status()["ranks"]}

    def _join(self, command: str, *options: str) -> Member:
        url, link = self._url()
        process = self._stack.enter_context(forebay_process(self._folder, command, "--redis", url, *options))
        return Member(process, link, self._http)

    @property
    def members(self) -> list[Member]:
        return [self.agent, *self.gateways]

    @property
    def urls(self) -> list[str]:
        return [gateway.process.url for gateway in self.gateways]

    @property
    def links(self) -> list[LinkThread]:
        return [member.link for member in self.members if member.link]

    def until_serving(self) -> None:
        """Waits until all gateways are ready and know both ranks."""
        for member in self.members:
            member.process.wait_until_ready()
        for gateway in self.gateways:
            until_now(partial(self.knows_all_ranks, gateway), "both ranks are known", pause_s=LOOK_S)

    def until_degraded(self, *gateways: Member) -> None:
        """Waits until these gateways, or all if none is given, say that they are and the others do not; all serve."""
        these = list(gateways) or self.gateways

        def say_so() -> bool:
            return [gateway for gateway in self.gateways if gateway.is_degraded()] == these

        until_now(say_so, f"{len(these)} gateways say that they are degraded", pause_s=LOOK_S)
        self.answers()

    def disagreement(self, store: redis.Redis, slack: int = 0) -> str:
        """How the ledger differs from what gateways hold, or that it cannot be asked; empty where all is well.

        What each holds may differ by `slack`: they are not asked at the same instant.
        """
        if any(gateway.is_degraded() for gateway in self.gateways):
            return "a gateway is degraded"
        with suppress(redis.RedisError):
            books = books_of(store)
            told = {name: len(records) for name, records in books.held.items() if records}
            held = {state["gateway"]: state["reservations"] for state in (each.state() for each in self.gateways)}
            if told.keys() - held.keys() or any(abs(held[name] - told.get(name, 0)) > slack for name in held):
                return f"gateways hold {held}, the ledger {told}"
            return "" if books.is_exact else f"the sums are wrong: {books}"
        return "Redis does not answer"

    def knows_all_ranks(self, gateway: Member) -> bool:
        return gateway.get("/metrics").text.count("forebay_gateway_prefix_span_tokens{") == len(self.ranks)


@contextmanager
def site_on(folder: Path, url: Url) -> Iterator[Site]:
    """A site that serves."""
    with ExitStack() as stack:
        site = Site(folder, stack, url)
        site.until_serving()
        yield site


@contextmanager
def linked_site(folder: Path, store: RedisServer) -> Iterator[Site]:
    """A site whose processes each reach the server by a link of their own."""
    with ExitStack() as stack:

        def url() -> tuple[str, LinkThread]:
            link = stack.enter_context(link_to(store.port))
            return f"redis://{HOST}:{link.port}", link

        with site_on(folder, url) as site:
            yield site
