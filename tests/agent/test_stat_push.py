"""Datagrams are read as they are documented, and nothing else is."""

from typing import Any

import msgspec
import pytest

from agent.errors import PushError
from agent.stat_push import LONGEST_BYTES, merged, read_push
from tests.agent.pushed import push_fields, stat_push


def datagram(**changes: Any) -> bytes:
    return msgspec.json.encode(push_fields() | changes)


def test_fields_of_a_newer_stat_logger_are_skipped() -> None:
    assert read_push(datagram(colour="blue", running=3)).running == 3


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"null",
        b"[" * 2_000,
        datagram(v=2),
        datagram(running=-1),
        datagram(running=1.5),
        datagram(running="1"),
        datagram(steps=1 << 60),
        datagram(kv_usage=1.5),
        datagram(ports=[0]),
        datagram(ports=list(range(1, 40))),
        datagram(api_count=0),
        datagram(engine=-1),
        datagram(note="x" * LONGEST_BYTES),
        datagram(kv_usage=0.5).replace(b"0.5", b"nan"),
    ],
)
def test_what_no_stat_logger_writes_is_refused(raw: bytes) -> None:
    with pytest.raises(PushError):
        read_push(raw)


def test_an_engine_behind_several_servers_is_known_once_all_of_them_were_heard() -> None:
    first = stat_push(api_index=0, api_count=2, steps=3, generation_tokens=30, running=5, load_at_ns=2_000_000_000)
    second = stat_push(api_index=1, api_count=2, steps=4, generation_tokens=40, running=2, load_at_ns=1_000_000_000)
    assert merged([first]) is None
    both = merged([first, second])
    assert both is not None
    # Each token is counted by one of them; the gauges are the newest.
    assert (both.sample.steps, both.sample.generation_tokens, both.sample.running) == (7, 70, 5)
    assert both.start_ms is None


@pytest.mark.parametrize("awake", [0, 1])
def test_whether_an_engine_sleeps_says_the_server_that_was_asked_for_it_last(awake: int) -> None:
    slept_or_woke = {"awake": 1 - awake, "awake_at_ns": 1, "at_ns": 9}, {"awake": awake, "awake_at_ns": 2, "at_ns": 3}
    both = merged([stat_push(api_index=n, api_count=3, **fields) for n, fields in enumerate((*slept_or_woke, {}))])
    assert both is not None
    assert both.sample.awake is bool(awake)


def test_a_stat_logger_that_does_not_say_when_it_slept_is_read_all_the_same() -> None:
    fields = push_fields(awake=0)
    del fields["awake_at_ns"]
    push = merged([read_push(msgspec.json.encode(fields))])
    assert push is not None
    assert not push.sample.awake
