"""The command of vllm-ascend's guide to large-scale expert parallelism, with one word changed: 8 + 64 ranks serve."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.e2e.proxy.asking import ask
from tests.e2e.proxy.proxy_process import Proxy, many_ranks, running
from tests.forebay.proxy.documented import LARGE_SCALE_EP
from tests.polling import until_now
from tests.ports import free_port, free_row

SPEED = 0.25
"""So slow that all of them run at once."""
AT_ONCE = 80
MOST_ROUNDS = 4


class Site(NamedTuple):
    """The proxy and the ranks behind it; one decode rank has a process of its own, so that it can die alone."""

    proxy: Proxy
    prefill: list[str]
    decode: list[str]
    mortal: "subprocess.Popen[bytes]"

    @property
    def mortal_name(self) -> str:
        return self.decode[-1]


def command_for(row: int, port: int) -> str:
    """The guide's command: `python` is another word, and its addresses are of this machine, from port `row` on."""
    text = LARGE_SCALE_EP.strip().removesuffix("\\").replace("python ", f"exec {sys.executable} -m forebay proxy ")
    text = text.replace("192.0.0.", "127.0.0.").replace("9000", str(row))
    return text.replace("--port 8000", f"--port {port}").replace("--host 0.0.0.0", "--host 127.0.0.1")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder: Path = tmp_path_factory.mktemp("proxy")
    row, port = free_row(16), free_port()
    prefill = [f"127.0.0.{host}:{row + i}" for host in range(1, 5) for i in range(2)]
    decode = [f"127.0.0.{host}:{row + i}" for host in range(5, 9) for i in range(16)]
    with ExitStack() as stack:
        stack.enter_context(many_ranks("prefill", SPEED, prefill))
        stack.enter_context(many_ranks("decode", SPEED, decode[:-1]))
        mortal = stack.enter_context(many_ranks("decode", SPEED, decode[-1:]))
        command = ["bash", "-c", command_for(row, port)]
        proxy = stack.enter_context(running(folder, port, command, FOREBAY_EXPLAIN="1", FOREBAY_LOG_LEVEL="warning"))
        proxy.wait_until_ready()
        yield Site(proxy, prefill, decode, mortal)


async def test_all_ranks_serve_streams_and_whole_answers_and_all_are_right(site: Site) -> None:
    assert "model sim, 8 prefill and 64 decode ranks" in site.proxy.said
    used: set[str] = set()
    for number in range(MOST_ROUNDS):
        answers = await ask(site.proxy.url, range(number * AT_ONCE, (number + 1) * AT_ONCE))
        assert all(answer.is_right for answer in answers)
        used |= {rank for answer in answers for rank in answer.ranks}
        if used == {*site.prefill, *site.decode}:
            break
    assert used == {*site.prefill, *site.decode}
    health = {"status": "ok", "prefill_instances": 8, "decode_instances": 64, "request_num": 0}
    until_now(lambda: site.proxy.health() == health, "nothing is under way")


async def test_no_request_fails_when_a_decode_rank_dies(site: Site) -> None:
    # Of a stream that has begun there is no way back; what has said nothing yet is placed anew.
    during = await ask(site.proxy.url, range(10_000, 10_000 + AT_ONCE), streams=False, midway=site.mortal.kill)
    after = await ask(site.proxy.url, range(20_000, 20_000 + AT_ONCE))
    assert len(during) == len(after) == AT_ONCE
    assert all(answer.is_right for answer in during + after)
    assert site.mortal_name not in {rank for answer in after for rank in answer.ranks}
