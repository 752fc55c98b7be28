"""That nothing of uvicorn's insides is used without a test of its own."""

import ast
import asyncio
from pathlib import Path

import gateway.client_http
from tests.gateway.client_http import test_uvicorn_internals
from tests.gateway.client_http.uvicorn_connection import Connection

TREES = [ast.parse(source.read_text()) for source in Path(gateway.client_http.__path__[0]).glob("*.py")]
TESTS = Path(test_uvicorn_internals.__file__).read_text()
TRANSPORT_OR_PROTOCOL = {*dir(asyncio.Protocol), *dir(asyncio.Transport)}
PUBLIC = {"scope", "send", "receive"}
"""ASGI's own words."""


async def test_each_internal_that_is_used_is_named_by_a_test() -> None:
    connection = Connection()
    await connection.call()
    theirs = {*dir(connection.protocol), *dir(connection.cycle), *dir(connection.protocol.flow)}
    await connection.close()
    used = {node.attr for tree in TREES for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    internals = (used & theirs) - TRANSPORT_OR_PROTOCOL - PUBLIC
    assert "_start_asgi_task" in internals
    assert {name for name in internals if name not in TESTS} == set()
