"""The store: runs the ledger's scripts on Redis, and turns the library's errors into ours. Alone imports redis.

It never retries a call by itself: a call whose reply is lost may or may not have been applied, and only the ledger
(numbers, epochs, resync) can tell. The one exception is a script that the server does not know, which is certain not to
have run.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Protocol

import anyio
import redis.exceptions as errors
from hiredis import pack_command
from redis.asyncio import ConnectionPool, Redis, RedisCluster
from redis.asyncio.connection import AbstractConnection, Connection
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import MasterNotFoundError, Sentinel, SentinelConnectionPool
from redis.backoff import NoBackoff

from scheduler.calls import Call, Reply, Word
from scheduler.error_replies import Meaning, meaning_of, shown
from scheduler.errors import StoreDeniedError, StoreFullError, StoreRejectedError, StoreUnavailableError
from scheduler.errors import StoreWrongTypeError as WrongTypeError
from scheduler.lua import digest, source
from scheduler.store_files import with_files
from scheduler.store_url import StoreUrl, parse_store_url

CONNECT_TIMEOUT_S = 0.5
ANSWER_TIMEOUT_S = 0.75
"""For all of an exchange, connecting included. The library's own timeout is not used: it goes through
asyncio.wait_for, which in Python 3.11 swallows a cancellation that comes as the bytes have just been sent."""

CONNECTIONS = 256
"""In use at once; who needs one more waits for it, within the time of its exchange. Each pool uses up to five."""
SENTINEL_TIMEOUT_S = 0.2
"""For one Sentinel's answer, so that two that do not answer leave time for a third."""
LOOK_S, FOLLOW_S, UNANSWERED_S = 0.3, 0.5, 10.0
"""For a question who the master is, to the next one, and to the next one where no Sentinel answers. A master that an
operator has replaced serves on for 8 s before it is demoted."""

_NO_LOGIN = ("HELLO must be called with the client already authenticated", "Authentication required", "NOAUTH")
"""How Redis begins to say so to a client that gave no password."""
_REFUSED = (errors.AuthenticationError, errors.AuthorizationError, errors.NoPermissionError)
_WRITTEN_TO_CLOSED = "the handler is closed"
"""How uvloop refuses to write to a connection that was reset while idle, which the library does not notice."""
_GONE = (errors.ConnectionError, errors.TimeoutError, errors.ClusterError, errors.RedisClusterException, OSError)
_CODES: tuple[tuple[type[Exception], str], ...] = (
    (errors.ReadOnlyError, "READONLY "),
    (errors.OutOfMemoryError, "OOM "),
    (errors.MasterDownError, "MASTERDOWN "),
    (errors.ResponseError, ""),
)
"""The codes that the library takes off a reply to make them classes; it leaves the others where they were."""


class Store(Protocol):
    """What the scheduler needs of Redis; tests in virtual time bring another one."""

    async def run(self, calls: Sequence[Call]) -> list[Reply]:
        """Runs the calls in order in one round trip; raises StoreUnavailableError or StoreRejectedError, the
        latter as StoreWrongTypeError where a key is of the wrong type.
        """

    async def command(self, *words: Word) -> Reply:
        """Runs one plain command; raises the same."""


class RedisStore:
    """A store on a redis.asyncio client: single server, behind Sentinel, or cluster."""

    def __init__(self, client: Redis | RedisCluster) -> None:
        self._client = client
        self._turns = asyncio.Semaphore(CONNECTIONS)

    async def command(self, *words: Word) -> Reply:
        """See Store."""
        async with self._exchange(), self._turns:
            reply = await self._client.execute_command(*words)
        # redis-py makes dicts and sets of some replies; ours are as the server sent them.
        if isinstance(reply, dict):
            return [part for pair in reply.items() for part in pair]
        return list(reply) if isinstance(reply, set) else reply

    async def run(self, calls: Sequence[Call]) -> list[Reply]:
        """See Store. After a restart or a promotion the server knows no script: those are sent whole."""
        if not calls:
            return []
        replies = await self._send([("EVALSHA", digest(call.script), call) for call in calls])
        if unknown := [at for at, reply in enumerate(replies) if isinstance(reply, errors.NoScriptError)]:
            # Numbered calls after the first of them were refused, and go along; what else has run is not run again.
            again = sorted({*unknown, *(at for at in range(unknown[0], len(calls)) if replies[at] == [b"resync"])})
            whole = iter(await self._send([("EVAL", source(calls[at].script), calls[at]) for at in again]))
            replies = [next(whole) if at in again else reply for at, reply in enumerate(replies)]
        for reply in replies:
            if isinstance(reply, Exception):
                async with self._exchange():
                    raise reply
        return replies

    async def _send(self, scripts: Sequence[tuple[str, str, Call]]) -> list[Reply]:
        commands = [(verb, text, len(call.keys), *call.keys, *call.args) for verb, text, call in scripts]
        async with self._exchange(), self._turns:
            if isinstance(self._client, Redis):
                return await _exchanged(self._client.connection_pool, commands)
            pipeline = self._client.pipeline(transaction=False)
            for command in commands:
                pipeline.execute_command(*command)
            replies: list[Reply] = await pipeline.execute(raise_on_error=False)
        return replies

    @asynccontextmanager
    async def _exchange(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                yield
        except (errors.RedisError, errors.RedisClusterException, OSError) as error:
            if _meaning(error) is Meaning.DEMOTED:
                await self._connect_anew(inuse_connections=True)
            raise _ours(error) from error
        except RuntimeError as error:
            if _WRITTEN_TO_CLOSED not in str(error):
                raise
            await self._connect_anew(inuse_connections=False)
            raise StoreUnavailableError("Redis does not answer: the connection was reset") from error

    async def _connect_anew(self, *, inuse_connections: bool) -> None:
        """All later exchanges do: a name may lead to another master by now, and who reset one connection reset all.

        A cluster's replica names the master, and the library follows it.
        """
        if isinstance(self._client, Redis):
            with suppress(errors.RedisError, OSError):
                await self._client.connection_pool.disconnect(inuse_connections)


class _Sentinels(Sentinel):
    """Asks one Sentinel after the other; who does not answer is asked last from then on."""

    async def discover_master(self, service_name: str) -> tuple[str, int]:
        """The library waits for the first one as long as it is let. Raises MasterNotFoundError."""
        for sentinel in list(self.sentinels):
            with suppress(errors.RedisError, OSError):
                async with asyncio.timeout(SENTINEL_TIMEOUT_S):
                    masters: Any = await sentinel.sentinel_masters()
                state = masters.get(service_name)
                if state and self.check_master_state(state, service_name):
                    return state["ip"], state["port"]
            self.sentinels.remove(sentinel)
            self.sentinels.append(sentinel)
        raise MasterNotFoundError(f"no Sentinel knows a master of {service_name}")


class _FollowingPool(SentinelConnectionPool):
    """Leaves a master that was replaced, though its connections are fine."""

    _look_at_s = 0.0

    async def get_connection(self, *args: Any, **kwargs: Any) -> AbstractConnection:
        """A connection to the master of at most `FOLLOW_S` ago."""
        now_s = asyncio.get_running_loop().time()
        if now_s >= self._look_at_s:
            self._look_at_s = now_s + UNANSWERED_S
            with suppress(MasterNotFoundError, TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await self.get_master_address()  # type: ignore[no-untyped-call]
                self._look_at_s = now_s + FOLLOW_S
        connection: Connection = await super().get_connection(*args, **kwargs)  # type: ignore[no-untyped-call]
        if (connection.host, connection.port) != self.master_address:  # it was in use when another master was found
            await connection.disconnect()
        return connection


async def _exchanged(pool: ConnectionPool, commands: Sequence[tuple[Word, ...]]) -> list[Reply]:
    """What a pipeline without a transaction does, for half of its CPU: it retries nothing, and packs in C.

    Whatever interrupts it, the library closes the connection before it could hold another's replies.
    """
    connection = await pool.get_connection()  # type: ignore[no-untyped-call]
    try:
        packed = b"".join(pack_command(command) for command in commands)  # type: ignore[arg-type]  # says one word
        await connection.send_packed_command(packed, check_health=False)
        return [await _reply_on(connection) for _ in commands]
    finally:
        await pool.release(connection)


async def _reply_on(connection: AbstractConnection) -> Reply:
    try:
        return await connection.read_response()
    except errors.ResponseError as error:
        return error


def _ours(error: Exception) -> Exception:
    text, meaning = shown(str(error)), _meaning(error)
    if isinstance(error, _REFUSED) and text.startswith(_NO_LOGIN):
        return StoreDeniedError("Redis wants a password: redis://:PASSWORD@host")
    if isinstance(error, _REFUSED) or meaning is Meaning.DENIED:
        return StoreDeniedError(f"Redis refuses us: {text}")
    if isinstance(error, _GONE) or meaning in {Meaning.PASSING, Meaning.DEMOTED}:
        return StoreUnavailableError(f"Redis does not answer: {text or type(error).__name__}")
    kinds = {Meaning.FULL: StoreFullError, Meaning.WRONG_TYPE: WrongTypeError}
    return kinds.get(meaning, StoreRejectedError)(f"Redis answered: {text}")


def _meaning(error: Exception) -> Meaning:
    text, code = str(error), next((code for kind, code in _CODES if isinstance(error, kind)), "")
    # It takes off `ERR` too, whenever it knows some of the texts that may follow.
    return meaning_of(f"ERR {text}" if text.startswith("Error running script") else code + text)


@asynccontextmanager
async def open_store(url: str) -> AsyncIterator[Store]:
    """A store at `url`, of one of the forms in store_url.FORMS; opening it does not contact the server.

    Raises StoreUrlError saying what is wrong.
    """
    client, *sentinels = _clients(with_files(parse_store_url(url)))
    try:
        yield RedisStore(client)
    finally:
        # Whoever is cancelled leaves no connection open either.
        with anyio.CancelScope(shield=True):
            for each in (client, *sentinels):
                await each.aclose()


def _clients(url: StoreUrl) -> Sequence[Redis | RedisCluster]:
    """The client to use, then those it asks where the master is."""
    waits: dict[str, Any] = {
        "socket_timeout": None,
        "socket_connect_timeout": CONNECT_TIMEOUT_S,
        "max_connections": CONNECTIONS,
        "retry": Retry(NoBackoff(), 0),
    }
    options = {**waits, **url.options}
    if url.socket_path:
        return [Redis(unix_socket_path=url.socket_path, **options)]
    if url.service:
        # The login is the master's. The sentinels have none, but are asked over TLS as it is, by the same certificates.
        tls = {name: value for name, value in url.options.items() if name.startswith("ssl_")} | {"ssl": url.is_tls}
        sentinel = _Sentinels(url.hosts, sentinel_kwargs=waits | tls, ssl=url.is_tls, **options)  # type: ignore[no-untyped-call]
        return [sentinel.master_for(url.service, connection_pool_class=_FollowingPool), *sentinel.sentinels]
    ((host, port),) = url.hosts
    kind = RedisCluster if url.scheme.endswith("cluster") else Redis
    return [kind(host=host, port=port, ssl=url.is_tls, **options)]
