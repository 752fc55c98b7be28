"""A decode rank's call that reaches another gateway than the one it is for."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import anyio
import pytest

from gateway import metaserver_calls
from gateway.metaserver_calls import HOP, Calls
from gateway.sibling_calls import LENGTH_BYTES, call_sibling, serve_siblings
from scheduler import rank_tls
from scheduler.errors import StoreUnavailableError
from tests.gateway.fake_pools import FakePools
from tests.gateway.running import Served, eventually, serving
from tests.gateway.scripted_decode_first import CALL, LIFE, DecodeFirst, call, decode_first
from tests.gateway.scripted_pair import sent
from tests.gateway.scripted_rank import stalls
from tests.polling import PATIENCE_S, until
from tests.ports import free_port

CERTIFICATE = Path(__file__).parents[1] / "data" / "tls" / "certificate.pem"


@asynccontextmanager
async def asked(pair: DecodeFirst) -> AsyncIterator[str]:
    """A request that its decode rank has and is yet to call for; the URL's path."""
    async with asyncio.TaskGroup() as clients:
        client = clients.create_task(pair.served.complete())
        await eventually(lambda: len(pair.decode.requests) == 1)
        yield urlsplit(sent(pair.decode)["kv_transfer_params"]["metaserver"]).path
        client.cancel()


def knowing(pair: DecodeFirst) -> FakePools:
    """The pools of another gateway, which has read where the first one is."""
    pools = FakePools()
    pools.addresses[LIFE] = f"127.0.0.1:{free_port()} 127.0.0.1:{pair.served.port}"
    return pools


async def has_prefilled(pair: DecodeFirst) -> None:
    await eventually(lambda: "prefill_done" in pair.pool.words())
    assert pair.names() == ["P", "D"]


async def test_a_call_is_passed_on_to_the_gateway_that_awaits_it() -> None:
    async with decode_first(stalls) as pair, serving(knowing(pair), life="b") as other, asked(pair) as path:
        assert await call(other.url + path) == 200
        await has_prefilled(pair)
        assert await pair.heard() == {"taken": 1}
        assert await heard_by(other) == {"passed_on": 1}


async def heard_by(served: Served) -> dict[str, float]:
    metric = served.gateway.metrics.pairs.calls.collect()
    samples = (sample for family in metric for sample in family.samples if sample.name.endswith("_total"))
    return {sample.labels["heard"]: sample.value for sample in samples}


@pytest.mark.parametrize(("body", "status"), [(CALL | {"remote_port": 0}, 400), (CALL, 200)])
async def test_what_the_other_gateway_says_of_a_call_is_passed_back(body: object, status: int) -> None:
    pools = FakePools()
    async with decode_first(stalls) as pair, serving(pools, life="b") as other, asked(pair) as path:
        # A loopback address may be its own, which knows nothing of the call; nobody is asked after one who does.
        pools.addresses[LIFE] = f"127.0.0.1:{other.port} 127.0.0.1:{pair.served.port} 127.0.0.1:{other.port}"
        assert await call(other.url + path, body) == status
        assert await call(other.url + path[:-2] + "xx") == 404


async def test_a_call_for_a_gateway_that_nobody_knows_of_or_that_is_gone_is_for_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(metaserver_calls, "ASK_S", 0.1)
    pools = FakePools()
    async with serving(pools, life="b") as other:
        url = f"{other.url}/internal/metaserver/{LIFE}.{'x' * 32}"
        assert await call(url) == 404
        pools.addresses[LIFE] = f"127.0.0.1:{free_port()}"
        assert await call(url) == 404
        pools.addresses.error = StoreUnavailableError("gone")
        assert await call(url) == 404
        assert await heard_by(other) == {"lost": 3}


async def test_a_call_is_passed_on_when_the_store_answers_again(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ASK_S", "PASS_ON_S"):
        monkeypatch.setattr(metaserver_calls, name, PATIENCE_S)
    async with decode_first(stalls) as pair, serving(pools := knowing(pair), life="b") as other, asked(pair) as path:
        pools.addresses.error = StoreUnavailableError("away")
        async with asyncio.TaskGroup() as tasks:
            calling = tasks.create_task(call(other.url + path))
            await eventually(lambda: pools.addresses.asked > 1)
            pools.addresses.error = None
        assert calling.result() == 200
        assert await heard_by(other) == {"passed_on": 1}


async def test_of_calls_that_ask_again_others_are_not_kept_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metaserver_calls, "ASK_S", PATIENCE_S)
    monkeypatch.setattr(metaserver_calls, "ASKING_AT_ONCE", 1)
    pools = FakePools()
    pools.addresses.error = StoreUnavailableError("away")
    async with serving(pools, life="b") as other, asyncio.TaskGroup() as tasks:
        url = f"{other.url}/internal/metaserver/{LIFE}.{'x' * 32}"
        asking = tasks.create_task(call(url))
        await eventually(lambda: pools.addresses.asked > 1)
        assert await call(url) == 404
        assert not asking.done()
        pools.addresses.error = None
    assert asking.result() == 404


async def test_a_call_is_passed_on_once_however_wrong_the_addresses_are() -> None:
    """Two gateways that take each other for a third one, as behind one load balancer."""
    first, second = FakePools(), FakePools()
    async with serving(first, life="b") as b, serving(second, life="c") as c:
        first.addresses[LIFE], second.addresses[LIFE] = f"127.0.0.1:{c.port}", f"127.0.0.1:{b.port}"
        assert await call(f"{b.url}/internal/metaserver/{LIFE}.{'x' * 32}") == 404
        assert (await heard_by(b), await heard_by(c)) == ({"passed_on": 1}, {"lost": 1})
        assert await call(f"{b.url}/internal/metaserver/{LIFE}.{'x' * 32}", **{HOP.decode(): "1"}) == 404
        assert (await heard_by(b), await heard_by(c)) == ({"passed_on": 1, "lost": 1}, {"lost": 1})


async def test_between_gateways_on_https_the_authorities_are_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[object] = []

    def counted(*args: Any) -> ssl.SSLContext:
        read.append(args)
        return rank_tls.trusting(*args)

    monkeypatch.setattr(metaserver_calls, "trusting", counted)
    own, key = str(CERTIFICATE), str(CERTIFICATE.with_name("key.pem"))
    tls: dict[str, Any] = {"tls_cert": own, "tls_key": key, "rank_ca": own}
    async with (
        decode_first(stalls, **tls) as pair,
        serving(knowing(pair), life="b", **tls) as other,
        asked(pair) as path,
    ):
        for _ in range(3):
            assert (await other.client.post(path, json=CALL)).status_code == 200
        await has_prefilled(pair)
        assert await heard_by(other) == {"passed_on": 3}
    assert len(read) == 1


async def test_a_worker_takes_calls_that_reached_another_one_without_any_address() -> None:
    async with (
        decode_first(stalls) as pair,
        serving(FakePools(), life="b") as other,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(serve_siblings, LIFE, Calls(pair.served.gateway).take)
        async with asked(pair) as path:
            await until_listening(LIFE)
            assert await call(other.url + path, CALL | {"remote_port": 0}) == 400
            assert await call(other.url + path) == 200
            assert await call(other.url + path[:-2] + "xx") == 404
            assert await call(other.url + path, **{HOP.decode(): "1"}) == 200
            await has_prefilled(pair)
            assert await pair.heard() == {"malformed": 1, "taken": 1, "unknown": 1, "again": 1}
        tasks.cancel_scope.cancel()


async def until_listening(life: str) -> None:
    async def listens() -> bool:
        try:
            await (await anyio.connect_unix(f"\0forebay-calls-{life}")).aclose()
        except OSError:
            return False
        return True

    await until(listens, "the worker listens to the others")


@pytest.mark.parametrize(
    "raw",
    [b"", b"\0\0", (1 << 30).to_bytes(LENGTH_BYTES, "big"), b"\0\0\0\0", b"\0\0\0\x02\x01\xff"],
    ids=["nothing", "half a length", "too long", "empty", "no text"],
)
async def test_what_is_no_call_ends_its_connection_and_no_other(raw: bytes) -> None:
    taken: list[tuple[str, bytes]] = []
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(serve_siblings, LIFE, lambda token, body: taken.append((token, body)))
        await until_listening(LIFE)
        async with await anyio.connect_unix(f"\0forebay-calls-{LIFE}") as stream:
            if raw:
                await stream.send(raw)
            await stream.send_eof()
            with pytest.raises(anyio.EndOfStream):
                await stream.receive()
        assert await call_sibling(LIFE, "a.token", b"body") == 200
        tasks.cancel_scope.cancel()
    assert taken[-1] == ("a.token", b"body")
