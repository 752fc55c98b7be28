"""What a proxy answers of its ranks, in each mode, and what it refuses."""

import json
from collections.abc import Sequence
from typing import Any, cast

import anyio
import pytest

from agent.node import Node
from agent.targets import Target
from forebay.proxy.instances import Instances
from forebay.proxy.modes import Mode
from forebay.proxy.site import ProxySite
from gateway.site import SiteRequest
from scheduler.errors import StoreUnavailableError
from scheduler.messages import Role
from scheduler.store import Store


class AbsentStore:
    """A store that does not answer."""

    async def command(self, *_: object) -> object:
        raise StoreUnavailableError("it is away")


class IdleNode:
    """A node whose ports never answer."""

    def __init__(self) -> None:
        self.watched: list[Target] = []

    def add(self, target: Target) -> None:
        self.watched.append(target)

    def remove(self, target: Target) -> None:
        self.watched.remove(target)

    def ranks_at(self, _: Target) -> Sequence[str]:
        return ()


class Answering:
    """A site, asked from outside."""

    def __init__(self, mode: Mode, configured: dict[Role, list[Target]]) -> None:
        self.mode, self.configured = mode, configured
        self.nodes = {role: IdleNode() for role in mode.roles}

    def ask(self, *requests: tuple[str, Any]) -> list[tuple[int, Any]]:
        """Its answers to requests one after another: status and body."""
        return anyio.run(self._ask, requests)

    async def _ask(self, requests: Sequence[tuple[str, Any]]) -> list[tuple[int, Any]]:
        store = cast("Store", AbsentStore())
        async with anyio.create_task_group() as tasks:
            nodes = cast("dict[Role, Node]", self.nodes)
            site = ProxySite(self.mode, Instances(nodes, self.configured, store, "sim", tasks), store, "sim")
            said = []
            for path, body in requests:
                raw = body if isinstance(body, bytes) else json.dumps(body).encode()
                answer = await site.answer(SiteRequest(path, raw))
                said.append((answer.status, json.loads(answer.body)))
            tasks.cancel_scope.cancel()
        return said


HEALTH = ("/healthcheck", b"")
A, B, C = (Target("10.0.0.1", port) for port in (9000, 9001, 9002))
PAIRS = {Role.PREFILL: [A], Role.DECODE: [B, C]}


@pytest.mark.parametrize(
    ("mode", "configured", "health"),
    [
        (Mode.PD, PAIRS, {"status": "ok", "prefill_instances": 1, "decode_instances": 2, "request_num": 0}),
        (Mode.LAYERWISE, PAIRS, {"status": "ok", "prefill_instances": 1, "decode_instances": 2}),
        (Mode.DP, {Role.MIXED: [A, B]}, {"status": "ok", "dp_instances": 2}),
        (Mode.BUCKET, {Role.MIXED: [A, B]}, {"status": "ok", "server_instances": 2}),
    ],
)
def test_the_health_of_each_mode_is_written_as_its_proxy_writes_it(
    mode: Mode, configured: dict[Role, list[Target]], health: dict[str, Any]
) -> None:
    assert Answering(mode, configured).ask(HEALTH) == [(200, health)]


def test_one_instance_or_several_are_added_and_one_that_never_answered_is_removed_at_once() -> None:
    site = Answering(Mode.PD, PAIRS)
    several, again, removed = site.ask(
        ("/instances/add", {"type": "prefill", "instances": ["10.0.0.9:1", "[fd00::1]:2"]}),
        ("/instances/add", {"type": "prefill", "instances": "10.0.0.1:9000"}),
        ("/instances/remove", {"type": "prefill", "instances": "[fd00::1]:2"}),
    )
    current = {
        "current_prefill_instances": ["10.0.0.1:9000"],
        "current_decode_instances": ["10.0.0.1:9001", "10.0.0.1:9002"],
    }
    waiting = "Instances ['10.0.0.9:1', '[fd00::1]:2'] are waiting to be added."
    assert several == (200, {"message": waiting, **current})
    assert again == (200, {"message": "add prefill instances: ['10.0.0.1:9000'].", **current})
    assert removed == (200, {"message": "remove prefill instances: ['[fd00::1]:2'].", **current})
    assert [target.name for target in site.nodes[Role.PREFILL].watched] == ["10.0.0.9:1"]


def test_one_rank_by_two_names_is_one_instance() -> None:
    site = Answering(Mode.PD, PAIRS)
    ((_, body),) = site.ask(("/instances/add", {"type": "decode", "instances": ["127.0.0.1:1", "localhost:1"]}))
    assert body["message"] == "Instances ['127.0.0.1:1'] are waiting to be added."
    assert [target.name for target in site.nodes[Role.DECODE].watched] == ["127.0.0.1:1"]
    site = Answering(Mode.PD, {Role.PREFILL: [A], Role.DECODE: [B, Target("127.0.0.1", 1)]})
    refused, again = site.ask(
        ("/instances/add", {"type": "prefill", "instances": "localhost:1"}),
        ("/instances/add", {"type": "decode", "instances": "localhost:1"}),
    )
    assert refused == (400, {"error": "127.0.0.1:1 is a decode instance."})
    assert again[1]["message"] == "add decode instances: ['127.0.0.1:1']."


def test_ranks_of_whole_requests_are_added_too() -> None:
    site = Answering(Mode.DP, {Role.MIXED: [A]})
    ((_, body),) = site.ask(("/instances/add", {"type": "mixed", "instances": "10.0.0.2:1"}))
    assert body["current_instances"] == ["10.0.0.1:9000"]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"type": "encode", "instances": "h:1"}, "Only 'prefill' and 'decode' are allowed."),
        ({"type": "mixed", "instances": "h:1"}, "Only 'prefill' and 'decode' are allowed."),
        ({"type": "prefill", "instances": "h"}, "'h' is not HOST:PORT"),
        ({"type": "prefill", "instances": "fd00::1:9000"}, "an IPv6 host goes in brackets"),
        ({"type": "prefill", "instances": ["h:1", "h:70000"]}, "port outside 1-65535"),
        ({"type": "prefill", "instances": "h:²"}, "'h:²' is not HOST:PORT"),
        ({"type": "prefill", "instances": "h:" + "9" * 5000}, "is not HOST:PORT"),
        ({"type": "prefill", "instances": ["h:1"] * 2000}, "More than 1024 instances at once."),
        ({"type": "prefill", "instances": "10.0.0.1:9001"}, "10.0.0.1:9001 is a decode instance."),
        ({"type": "prefill"}, "missing required field `instances`"),
        (b"{", "The body is not"),
        (b"\xff", "The body is not"),
    ],
)
def test_what_names_no_instances_is_a_400_that_says_why(body: Any, said: str) -> None:
    site = Answering(Mode.PD, PAIRS)
    ((status, answer),) = site.ask(("/instances/add", body))
    assert status == 400
    assert said in answer["error"]
    assert site.nodes[Role.PREFILL].watched == []
