"""The start of `forebay up`: stage by stage, with progress, until a request to any gateway would be served."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress

import anyio
import httpx
from rich.console import Console

from forebay.announcement import announcement
from forebay.checklist import Checklist
from forebay.children import Child, Children
from forebay.fleet import Commands, agent_commands, gateway_commands, rank_commands
from forebay.given_redis import given_redis_answers
from forebay.inheritance import gateway_keys
from forebay.invocation import Invocation
from forebay.local_redis import answers_ping, describe_local_redis, local_redis_url
from forebay.options import variable
from forebay.ports import LOOPBACK, free_ports
from forebay.settings import UpSettings
from forebay.supervise import CannotStartError
from scheduler.admin import status
from scheduler.errors import StoreRejectedError, StoreUnavailableError, StoreWrongTypeError
from scheduler.messages import RankState
from scheduler.settings import SchedulerSettings
from scheduler.store import Store, open_store
from scheduler.store_url import shown_url

PATIENCE_S = 60.0
"""How long nothing more may come before the start is given up."""
RETRY_S = 0.05
REQUEST_TIMEOUT_S = 2.0


class Startup:
    """Starts the children of one `forebay up`; gives up when nothing more has come for `patience_s`."""

    def __init__(
        self,
        settings: UpSettings,
        invocation: Invocation,
        running: Children,
        console: Console,
        patience_s: float = PATIENCE_S,
    ) -> None:
        self._settings = settings
        self._invocation = invocation
        self._running = running
        self._patience_s = patience_s
        self._patience = anyio.CancelScope()
        roles = settings.ranks_by_role
        started = sum(roles.values()) + len(roles) + settings.gateways
        self._checklist = Checklist(console, total=started + len(("redis", "reports", "gateways")))

    async def run(self) -> str:
        """Start everything; returns the announcement. Raises CannotStartError naming what did not come."""
        with self._checklist, self._patience:
            self._be_patient()
            return await self._run()
        missing = ", ".join(self._checklist.open_items)
        raise CannotStartError(f"not ready, and nothing more came for {self._patience_s:.0f} s; missing: {missing}")

    def _be_patient(self) -> None:
        self._patience.deadline = anyio.current_time() + self._patience_s

    def _came(self, item: str, line: str) -> None:
        self._checklist.tick(item, line)
        self._be_patient()

    async def _run(self) -> str:
        settings = self._settings
        redis_url, redis_is = await self._redis()
        free = iter(free_ports(sum(settings.ranks_by_role.values())))
        rank_ports = {role: [next(free) for _ in range(n)] for role, n in settings.ranks_by_role.items()}
        await self._stage(rank_commands(settings, rank_ports))
        # In the environment: arguments are for everybody to see, and a URL may hold a password.
        secrets = {variable("redis"): redis_url, **gateway_keys(settings)}
        await self._stage(agent_commands(settings, rank_ports) | gateway_commands(settings), secrets)
        await self._all_up(
            redis_url,
            {f"{LOOPBACK}:{port}": f"{role}-{i}" for role, ports in rank_ports.items() for i, port in enumerate(ports)},
        )
        key_demanded = await self._served()
        program = self._invocation.program
        return announcement(settings, redis_url, redis_is, program=program, key_demanded=key_demanded)

    async def _redis(self) -> tuple[str, str]:
        """The store's URL and what it is; starts one where none was given."""
        if url := self._settings.redis:
            given_by = self._invocation.redis_given_by
            self._checklist.wait_for("redis", f"at {shown_url(url)}")
            await given_redis_answers(url, given_by)
            self._came("redis", f"{shown_url(url)} answers")
            return url, f"given by {given_by}"
        (port,) = free_ports(1)

        async def answers(_: Child) -> str:
            await answers_ping(port)
            return f"{local_redis_url(port)} ({describe_local_redis()})"

        await self._stage({"redis": ("local-redis", "--port", str(port))}, ready=answers)
        return local_redis_url(port), describe_local_redis()

    async def _stage(
        self,
        commands: Commands,
        variables: Mapping[str, str] | None = None,
        ready: Callable[[Child], Awaitable[str]] = Child.ready,
    ) -> None:
        """Start the commands together and wait for the line of each that says it is ready."""
        stage = await self._running.start_stage(commands, variables or {})

        async def wait_for(child: Child) -> None:
            self._came(child.name, await ready(child))

        async with anyio.create_task_group() as tasks:
            for child in stage:
                self._checklist.wait_for(child.name)
                tasks.start_soon(wait_for, child, name=f"start of {child.name}")

    async def _all_up(self, redis_url: str, children: Mapping[str, str]) -> None:
        """Wait until the agents have reported all these ranks as up; `children` has each rank's child."""
        missing = set(children)
        async with open_store(redis_url) as store:
            while missing:
                names = ", ".join(f"{children[rank]} ({rank})" for rank in sorted(missing))
                self._checklist.wait_for("reports", f"of {names}")
                await anyio.sleep(RETRY_S)
                up = await _ranks_up(store)
                if missing & up:
                    self._be_patient()
                missing -= up
        self._came("reports", f"{len(children)} of {len(children)} ranks are up")

    async def _served(self) -> bool:
        """Wait until every gateway knows the model; returns whether clients need a key."""
        demanded = False
        async with httpx.AsyncClient(trust_env=False, timeout=REQUEST_TIMEOUT_S) as client:
            for index, port in enumerate(self._settings.gateway_ports):
                self._checklist.wait_for("gateways", f"(gateway-{index} to serve {self._settings.model})")
                demanded |= await self._knows_the_model(client, port)
                self._be_patient()
        self._came("gateways", f"each serves model {self._settings.model}")
        return demanded

    async def _knows_the_model(self, client: httpx.AsyncClient, port: int) -> bool:
        while True:
            with suppress(httpx.TransportError):
                answer = await client.get(f"http://{LOOPBACK}:{port}/v1/models")
                # Behind a key, which is the user's, there is no looking further.
                if answer.status_code == httpx.codes.UNAUTHORIZED:
                    return True
                if answer.is_success and self._settings.model in {each["id"] for each in answer.json()["data"]}:
                    return False
            await anyio.sleep(RETRY_S)


async def _ranks_up(store: Store) -> set[str]:
    """The ranks reported as up; none while the store does not answer. Raises CannotStartError.

    None either while its list of pools is of the wrong type: the first agent that reports makes it anew.
    """
    try:
        ranks = (await status(store, SchedulerSettings())).ranks
    except (StoreUnavailableError, StoreWrongTypeError):
        return set()
    except StoreRejectedError as error:
        raise CannotStartError(str(error)) from error
    return {rank.rank for rank in ranks if rank.state == RankState.UP}
