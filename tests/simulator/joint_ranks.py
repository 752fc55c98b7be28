"""Simulated ranks whose legs come at once, as real processes, with what their agent would know of them."""

import json
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from agent import kv_discovery
from scheduler.messages import KvAddress
from simulator.misuse import Kind
from tests.ports import free_port
from tests.simulator.rank_process import RankProcess, running_rank

OPTIONS = ("--strict", "--speed", "20", "--block-size-tokens", "32", "--enable-prompt-tokens-details")
CONNECTORS = ("nixl_push", "mooncake", "sglang")


class Met(NamedTuple):
    """A prefill rank, and how others meet it."""

    rank: RankProcess
    kv: KvAddress


@contextmanager
def prefill_rank(connector: str, *options: str, misuse: Collection[Kind] = (), port: int = 0) -> Iterator[Met]:
    """A prefill rank, and what is known of it; `port` is where it is met."""
    meeting = port or free_port()
    ports = ("--side-channel-port",) if connector == "nixl_push" else ("--bootstrap-port",)
    given = ("--role", "prefill", "--kv-connector", connector, *ports, str(meeting), *OPTIONS, *options)
    known: tuple[Kind, ...] = ("abandoned_kv",) if connector == "nixl_push" else ()
    with running_rank(*given, misuse={*misuse, *known}) as rank:
        yield Met(rank, address_of(connector, rank, meeting))


@contextmanager
def decode_rank(connector: str, *options: str, misuse: Collection[Kind] = ()) -> Iterator[RankProcess]:
    """A decode rank."""
    with running_rank("--role", "decode", "--kv-connector", connector, *OPTIONS, *options, misuse=misuse) as rank:
        yield rank


def address_of(connector: str, rank: RankProcess, port: int) -> KvAddress:
    """What an agent finds out."""
    if connector == "sglang":
        return KvAddress(host="127.0.0.1", port=port)
    if connector == "mooncake":
        url = f"http://127.0.0.1:{port}"
        return kv_discovery.of_mooncake(RankProcess(port, rank.process).get("/query").body, url, 0)
    params = {"do_remote_decode": True, "transfer_id": "forebay-test"}
    answer = rank.post("/v1/completions", {"prompt": "-", "max_tokens": 1, "kv_transfer_params": params})
    assert json.loads(answer.body)["kv_transfer_params"]["transfer_mode"] == "push"
    return kv_discovery.of_push(answer.body, "127.0.0.1")
