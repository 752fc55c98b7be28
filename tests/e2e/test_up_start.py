"""A start of `forebay up` that cannot come to its end is given up, by name."""

import os
import socket
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import anyio
import pytest
from rich.console import Console

from forebay import startup
from forebay.causes import first_cause
from forebay.children import ChildEndedError, children
from forebay.fleet import Commands, agent_commands
from forebay.invocation import Invocation
from forebay.settings import UpSettings
from forebay.startup import Startup
from forebay.supervise import CannotStartError
from scheduler.keys import POOLS
from tests.e2e.up_process import SMALL, all_gone, children_of, environment, up_running
from tests.polling import PATIENCE_S, until
from tests.ports import free_port
from tests.servers import redis_server

INVOCATION = Invocation("forebay", "--redis")


async def failed_start(redis_url: str, missing: Callable[[], str] = str) -> str:
    """Why two ranks and a gateway did not start; no child is left. Once all but what is `missing` have come, patience
    is short: nothing more comes.
    """
    settings = UpSettings(prefill=0, decode=0, mixed=2, gateways=1, port=free_port(), redis=redis_url, speed=50)
    others = set(children_of(os.getpid()))
    started: set[int] = set()

    async def end_patience(starting: Startup) -> None:
        await until(lambda: starting._checklist.open_items == [missing()], "all others have come")
        starting._patience_s = 0.1
        starting._be_patient()

    async def start() -> None:
        async with (
            children(environment(), lambda _name, _line: None, PATIENCE_S) as running,
            anyio.create_task_group() as tasks,
        ):
            starting = Startup(settings, INVOCATION, running, Console(quiet=True), patience_s=PATIENCE_S)
            if missing():
                tasks.start_soon(end_patience, starting)
            try:
                await starting.run()
            finally:
                started.update(set(children_of(os.getpid())) - others)

    with pytest.raises(ExceptionGroup) as caught:
        await start()
    assert started
    all_gone(list(started))
    cause = first_cause(caught.value)
    assert isinstance(cause, (CannotStartError, ChildEndedError))
    return str(cause)


async def test_a_child_that_does_not_get_ready_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, redis_server(tmp_path) as redis:
        ports = {"mixed": [silent.getsockname()[1]]}
        monkeypatch.setattr(startup, "agent_commands", lambda settings, _: agent_commands(settings, ports))
        why = await failed_start(redis.url, lambda: "agent-mixed")
    assert why.endswith("missing: agent-mixed")


async def test_a_rank_that_is_never_reported_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ranks: list[int] = []

    def forgetful(settings: UpSettings, ports: Mapping[str, Sequence[int]]) -> Commands:
        """An agent that knows of the first rank only."""
        ranks.extend(ports["mixed"])
        return agent_commands(settings, {"mixed": ports["mixed"][:1]})

    monkeypatch.setattr(startup, "agent_commands", forgetful)

    def second_rank() -> str:
        return f"reports of mixed-1 (127.0.0.1:{(ranks or [0, 0])[1]})"

    with redis_server(tmp_path) as redis:
        why = await failed_start(redis.url, second_rank)
    assert why.endswith(f"missing: reports of mixed-1 (127.0.0.1:{ranks[1]})")


async def test_a_store_that_does_not_let_an_agent_list_its_pool_is_told(tmp_path: Path) -> None:
    with redis_server(tmp_path) as redis:
        with redis.client() as client:
            client.execute_command("ACL", "SETUSER", "default", "-sadd")
        assert "'sadd'" in await failed_start(redis.url)


def test_a_list_of_pools_that_is_none_keeps_nobody_from_starting(tmp_path: Path) -> None:
    with redis_server(tmp_path) as redis:
        with redis.client() as client:
            client.set(POOLS, "no set")
        with up_running(tmp_path, *SMALL, "--redis", redis.url) as up:
            assert up.ranks("mixed")


def test_variables_meant_for_other_commands_are_named_and_not_passed_on(tmp_path: Path) -> None:
    variables = {"FOREBAY_ENGINES": "2", "FOREBAY_WORKERS": "2", "FOREBAY_API_KEY": "k", "FOREBAY_LOG_LEVEL": "warning"}
    with up_running(tmp_path, *SMALL, variables=variables) as up:
        assert "not passed on to what up starts: FOREBAY_ENGINES, FOREBAY_WORKERS\n" in up.complained
        assert [rank["rank"].count("#") for rank in up.status()["ranks"]] == [0]
        assert "$FOREBAY_API_KEY" in up.said
        assert up.end() == 0
