"""Runs one simulated rank as a server."""

from __future__ import annotations

import asyncio
import os
import signal
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, AsyncExitStack, asynccontextmanager, contextmanager, nullcontext
from functools import partial

from scheduler.rank_tls import load_pair, trusting
from simulator import routes
from simulator.bootstrap import answer
from simulator.dp_coordinator import Coordinator
from simulator.dp_member import DpMember, joined
from simulator.http import Connections, HttpProtocol
from simulator.layer_channel import LayerChannel
from simulator.rank import Rank
from simulator.runner import EngineRunner
from simulator.settings import RankSettings
from simulator.side_channel import SideChannel

_BACKLOG = 2048
_FLUSH_WITHIN_S = 1.0


class ListenError(OSError):
    """The address to listen on cannot be had."""


class StatLoggerMissingError(OSError):
    """Stats are to be pushed, and what pushes them is not installed."""


class RankCrashedError(Exception):
    """A simulated engine has died as vLLM's would have."""


async def serve(settings: RankSettings, ready: Callable[[str], None]) -> None:
    """Serve until SIGTERM, SIGINT, cancellation or the death of an engine.

    `ready` gets one line naming the URL once the port is bound. A signal ends listener and engines at once, as vLLM's
    default --shutdown-timeout 0 does: streams end with the finish_reason "abort", and answers that are not streamed
    get no byte. vLLM keeps their connections open until the clients leave; here that is `linger_s`, so that a rank
    does not outlive those who started it. vLLM was also seen to leave streams without a word; a frozen rank does.
    With external data parallelism nothing listens before all ranks of the group are there; one that the group refuses
    ends. Raises TlsFileError, ListenError, StatLoggerMissingError, and RankCrashedError once the answers to what was in
    flight are out.
    """
    rank = Rank(settings)
    protocol = partial(HttpProtocol, partial(routes.handle, rank), rank.connections)
    try:
        tls = _tls(settings)
        with _signals_heard(rank.ended.set):
            async with _together(rank) as goes:
                if not goes:
                    return
                async with _listening(protocol, settings.host, settings.port, tls) as port, _kv_moving(rank):
                    host = f"[{settings.host}]" if ":" in settings.host else settings.host
                    url = f"{'https' if tls else 'http'}://{host}:{port}"
                    with _stats_pushed(rank):
                        ready(f"rank ready: {url} (model {settings.model}, {settings.role})")
                        await rank.ended.wait()
                    rank.abort_all()
        if settings.linger_s and not rank.crash_reason:
            await rank.connections.close_all(settings.linger_s, answering=False)
        await rank.connections.close_all(_FLUSH_WITHIN_S)
        if rank.crash_reason:
            raise RankCrashedError(f"the engine died: {rank.crash_reason}")
    finally:
        rank.close()


@asynccontextmanager
async def _together(rank: Rank) -> AsyncIterator[bool]:
    """Whether the rank goes, once its data-parallel group does. Raises ListenError and RankCrashedError."""
    settings = rank.settings
    if settings.data_parallel_size == 1:
        yield True
        return
    host, port = settings.data_parallel_address, settings.data_parallel_rpc_port
    async with AsyncExitStack() as open_while_it_lives:
        if settings.data_parallel_rank == 0:
            coordinator = Coordinator(settings.data_parallel_size)
            await open_while_it_lives.enter_async_context(_listening(coordinator.link, host, port))
            open_while_it_lives.callback(coordinator.close)
        member = DpMember(settings.data_parallel_rank, settings.data_parallel_size, rank.hang)
        yield await open_while_it_lives.enter_async_context(joined(member, host, port, rank.ended))
    if member.refusal:
        raise RankCrashedError(f"refused by the coordinator at {host}:{port}: {member.refusal}")


@asynccontextmanager
async def _listening(
    protocol: Callable[[], asyncio.Protocol], host: str, port: int, tls: ssl.SSLContext | None = None
) -> AsyncIterator[int]:
    """A listener and its port; raises ListenError."""
    loop = asyncio.get_running_loop()
    try:
        server = await loop.create_server(protocol, host, port, ssl=tls, backlog=_BACKLOG)
    except OSError as error:
        # asyncio's own words repeat the address; a name that cannot be resolved has a negative number.
        why = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror or error
        raise ListenError(f"cannot listen on {host} port {port}: {why}") from error
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


def _stats_pushed(rank: Rank) -> AbstractContextManager[None]:
    """Raises StatLoggerMissingError."""
    path = rank.settings.stat_socket
    if not path:
        return nullcontext()
    try:
        from simulator.stat_pushing import stats_pushed  # noqa: PLC0415  (only ranks that push need it)
    except ModuleNotFoundError as error:
        raise StatLoggerMissingError(f"--stat-socket needs {error.name}: pip install ./vllm_plugin") from error
    return stats_pushed(rank, rank.settings.first_engine, path)


def _tls(settings: RankSettings) -> ssl.SSLContext | None:
    """What clients are shown and asked for. Raises TlsFileError."""
    if not settings.tls_cert:
        return None
    context = trusting(ssl.Purpose.CLIENT_AUTH, "tls-client-ca", settings.tls_client_ca)
    load_pair(context, "tls-cert", settings.tls_cert, settings.tls_key or settings.tls_cert)
    if settings.tls_client_ca:
        context.verify_mode = ssl.CERT_REQUIRED
    return context


@asynccontextmanager
async def _kv_moving(rank: Rank) -> AsyncIterator[None]:
    """The engines' side channels, if they have any."""
    settings = rank.settings
    if not (settings.moves_kv or settings.pushes_layers):
        yield
        return
    channels: set[SideChannel | LayerChannel] = set()
    async with AsyncExitStack() as listeners, asyncio.TaskGroup() as tasks:
        pulling = []
        for index, runner in enumerate(rank.runners):
            channel = _channel_of(runner, settings, channels)
            base = settings.bootstrap_port if settings.connector == "sglang" else settings.side_channel_port
            port = await listeners.enter_async_context(
                _listening(channel, settings.side_channel_host, base and base + index)
            )
            address = (settings.advertised_kv_host or settings.side_channel_host, port)
            runner.kv.address = runner.layers.address = address
            run = runner.layers.run() if settings.pushes_layers else runner.kv.puller.run()
            pulling.append(tasks.create_task(run, name=f"KV of engine {index}"))
        if settings.connector == "mooncake" and settings.role != "decode":
            engines = [runner.kv for runner in rank.runners]
            bootstrap = partial(HttpProtocol, partial(answer, engines), Connections(settings.keep_alive_s))
            await listeners.enter_async_context(_listening(bootstrap, settings.host, settings.bootstrap_port))
        try:
            yield
        finally:
            for task in pulling:
                task.cancel()
            for open_channel in list(channels):
                open_channel.close()


def _channel_of(
    runner: EngineRunner, settings: RankSettings, channels: set[SideChannel | LayerChannel]
) -> Callable[[], asyncio.Protocol]:
    if settings.pushes_layers:
        return lambda: LayerChannel(runner.layers, channels)
    return lambda: SideChannel(runner.kv, settings.block_size_tokens, channels)


@contextmanager
def _signals_heard(end: Callable[[], None]) -> Iterator[None]:
    """SIGTERM and SIGINT call `end`."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end)
    try:
        yield
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
