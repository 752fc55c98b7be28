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
from forebay.local_redis import answers_ping, describe_local_redis, local_redis_url
from forebay.options import variable
from forebay.ports import LOOPBACK, free_ports
from forebay.settings import UpSettings
from forebay.supervise import CannotStartError
from scheduler.admin import status
from scheduler.errors import StoreUnavailableError
from scheduler.messages import RankState
from scheduler.settings import SchedulerSettings
from scheduler.store import open_store

START_TIMEOUT_S = 60.0
RETRY_S = 0.05
REQUEST_TIMEOUT_S = 2.0


class Startup:
    """Starts the children of one `forebay up`."""

    def __init__(self, settings: UpSettings, running: Children, console: Console) -> None:
        self._settings = settings
        self._running = running
        roles = settings.ranks_by_role
        started = sum(roles.values()) + len(roles) + settings.gateways + (0 if settings.redis else 1)
        self._checklist = Checklist(console, total=started + len(("reports", "gateways")))

    async def run(self) -> str:
        """Start everything; returns the announcement. Raises CannotStartError when it takes too long."""
        try:
            with self._checklist, anyio.fail_after(START_TIMEOUT_S):
                return await self._run()
        except TimeoutError as error:
            late = ", ".join(self._checklist.open_items)
            raise CannotStartError(f"not ready within {START_TIMEOUT_S:.0f} s: {late}") from error

    async def _run(self) -> str:
        settings = self._settings
        redis_url, redis_is = await self._redis()
        free = iter(free_ports(sum(settings.ranks_by_role.values())))
        rank_ports = {role: [next(free) for _ in range(n)] for role, n in settings.ranks_by_role.items()}
        await self._stage(rank_commands(settings, rank_ports))
        # In the environment: a URL may hold a password, and arguments are for everybody to see.
        store = {variable("redis"): redis_url}
        await self._stage(agent_commands(settings, rank_ports) | gateway_commands(settings), store)
        await self._all_up(redis_url, {f"{LOOPBACK}:{port}" for ports in rank_ports.values() for port in ports})
        key_demanded = await self._served()
        return announcement(settings, redis_url, redis_is, key_demanded=key_demanded)

    async def _redis(self) -> tuple[str, str]:
        """The store's URL and what it is; starts one where none was given."""
        if self._settings.redis:
            return self._settings.redis, "as given"
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
            self._checklist.tick(child.name, await ready(child))

        async with anyio.create_task_group() as tasks:
            for child in stage:
                self._checklist.add(child.name)
                tasks.start_soon(wait_for, child, name=f"start of {child.name}")

    async def _all_up(self, redis_url: str, names: set[str]) -> None:
        """Wait until the agents have reported all these ranks as up."""
        self._checklist.add("reports")
        async with open_store(redis_url) as store:
            while True:
                with suppress(StoreUnavailableError):
                    ranks = (await status(store, SchedulerSettings())).ranks
                    if names <= {rank.rank for rank in ranks if rank.state == RankState.UP}:
                        break
                await anyio.sleep(RETRY_S)
        self._checklist.tick("reports", f"{len(names)} of {len(names)} ranks are up")

    async def _served(self) -> bool:
        """Wait until every gateway knows the model; returns whether clients need a key."""
        self._checklist.add("gateways")
        async with httpx.AsyncClient(trust_env=False, timeout=REQUEST_TIMEOUT_S) as client:
            demanded = [await self._knows_the_model(client, port) for port in self._settings.gateway_ports]
        self._checklist.tick("gateways", f"each serves model {self._settings.model}")
        return any(demanded)

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
