"""A redis-server with the users of `forebay redis-users`, and a store that asks it as the process would that calls."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path

from scheduler.calls import Call, Reply, Word
from scheduler.lua import Script
from scheduler.rights import ANY_POOL, ProcessRole, users
from scheduler.store import Store, open_store
from tests.servers import RedisServer, redis_server

ADMIN, ADMIN_PASSWORD = "admin", "admin's own"
CALLER = {
    Script.REPORT: ProcessRole.AGENT,
    Script.DP_GROUP: ProcessRole.AGENT,
    Script.DRAIN: ProcessRole.OPERATOR,
    Script.RECEIPT_FIND: ProcessRole.OPERATOR,
    Script.API_KEY_PUT: ProcessRole.OPERATOR,
}
"""Who calls a script; gateways all others."""


def password_of(role: ProcessRole) -> str:
    return f"the-{role}s-password"


def url_of(server: RedisServer, role: ProcessRole, scheme: str = "redis") -> str:
    return f"{scheme}://{role}:{password_of(role)}@{server.address}"


def users_file(folder: Path, pools: Sequence[str] = (ANY_POOL,), *, selectors: bool = True) -> Path:
    """With a user beside them who may do everything, for tests to look at things."""
    digests = {role: hashlib.sha256(password_of(role).encode()).hexdigest() for role in ProcessRole}
    admin = f"user {ADMIN} on #{hashlib.sha256(ADMIN_PASSWORD.encode()).hexdigest()} ~* &* +@all\n"
    file = folder / "users.acl"
    file.write_text(users(digests, pools, selectors=selectors) + admin)
    return file


@contextmanager
def redis_with_users(
    folder: Path, pools: Sequence[str] = (ANY_POOL,), *options: str, selectors: bool = True
) -> Iterator[RedisServer]:
    file = users_file(folder, pools, selectors=selectors)
    with redis_server(folder, "--aclfile", str(file), *options, username=ADMIN, password=ADMIN_PASSWORD) as server:
        yield server


class StoreByRole:
    """Each script is called by the user of the process that calls it, all else by an administrator."""

    def __init__(self, stores: Mapping[ProcessRole, Store], admin: Store) -> None:
        self._stores, self._admin = stores, admin

    async def run(self, calls: Sequence[Call]) -> list[Reply]:
        replies = []
        for call in calls:
            store = self._stores[CALLER.get(call.script, ProcessRole.GATEWAY)]
            replies += await store.run([call])
        return replies

    async def command(self, *words: Word) -> Reply:
        return await self._admin.command(*words)


@asynccontextmanager
async def store_by_role(server: RedisServer) -> AsyncIterator[StoreByRole]:
    async with AsyncExitStack() as opened:
        stores = {role: await opened.enter_async_context(open_store(url_of(server, role))) for role in ProcessRole}
        admin = f"redis://{ADMIN}:{ADMIN_PASSWORD.replace(' ', '%20')}@{server.address}"
        yield StoreByRole(stores, await opened.enter_async_context(open_store(admin)))
