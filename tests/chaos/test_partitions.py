"""What a run cuts its links with, and that it says why where that is a proxy."""

import asyncio

import pytest
from click.testing import CliRunner

from tests.chaos.__main__ import main
from tests.chaos.injecting import cut_off
from tests.chaos.partitions import Partitions, partitions
from tests.link import Link, link
from tests.ports import HOST, free_port

WHY = "this user is not root"


def test_links_are_cut_in_namespaces_unless_a_proxy_was_asked_for() -> None:
    assert partitions(None, "", theirs=False) == partitions("namespaces", "", theirs=False) == Partitions("namespaces")
    assert partitions("proxy", "", theirs=False) == Partitions("proxy", "as was asked for")


def test_the_ranks_of_another_router_stay_where_it_was_told_they_are() -> None:
    assert "127.0.0.1" in partitions(None, "", theirs=True).because


def test_where_no_namespace_can_be_had_it_is_a_proxy_and_an_error_for_who_insists(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert partitions(None, WHY, theirs=False) == Partitions("proxy", WHY)
    monkeypatch.setattr("tests.chaos.__main__.hindrance", lambda: WHY)
    result = CliRunner().invoke(main, ["--partitions", "namespaces"])
    assert (result.exit_code, WHY in result.output) == (1, True)


async def test_without_a_namespace_a_link_that_is_cut_off_takes_connections_and_passes_nothing_on() -> None:
    heard = asyncio.Event()

    async def listens(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        heard.set()
        writer.close()

    async with await asyncio.start_server(listens, HOST, 0) as server:
        made = Link(server.sockets[0].getsockname()[1], free_port())
        async with link(made):
            async with cut_off([made]):
                _, writer = await asyncio.open_connection(HOST, made.port)
                writer.write(b"?")
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(heard.wait(), 0.1)
            await heard.wait()
            writer.transport.abort()
