"""`forebay explain` of requests that real gateways placed on real ranks, through a real store."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import httpx
import msgspec
import pytest
import redis
from click.testing import CliRunner, Result

from forebay.main import main
from scheduler.keys import PoolKeys
from scheduler.receipt import Receipt, read, write
from tests.e2e.up_process import Up, forebay, up_running
from tests.polling import until_now
from tests.servers import needs_redis

pytestmark = needs_redis

LONG = "Tell me of turbines, and of the water that they turn in. " * 400
KEY = PoolKeys("sim").receipts


class Asked(NamedTuple):
    """What the client saw of a request."""

    request_id: str
    headers: Mapping[str, str]


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with up_running(tmp_path_factory.mktemp("explained")) as running:
        yield running


@pytest.fixture(scope="module")
def pair(up: Up) -> Asked:
    """A prompt that is worth a prefill rank."""
    until_now(lambda: all(up.ranks(role) for role in ("prefill", "decode")), "the ranks are known")
    body = {"model": "sim", "prompt": LONG, "max_tokens": 8}
    for _ in range(20):
        answer = httpx.post(
            f"{up.gateways[0]}/v1/completions", json=body, headers={"x-forebay-explain": "1"}, trust_env=False
        )
        assert answer.status_code == 200
        if "x-forebay-prefill" in answer.headers:
            return Asked(answer.headers["x-request-id"], answer.headers)
    raise AssertionError("no prompt went to a pair")


def explained(up: Up, request_id: str, *options: str) -> Result:
    """What the command says; it is not run as a process, for tests ask again and again."""
    ours = {name: None for name in os.environ if name.startswith("FOREBAY_")}
    return CliRunner().invoke(main, ["explain", request_id, "--redis", up.redis_url, *options], env=ours)


def as_json(up: Up, request_id: str) -> dict[str, Any]:
    done = explained(up, request_id, "--json")
    found: dict[str, Any] = json.loads(done.stdout)
    assert done.exit_code == (0 if all(each["same_answer"] for each in found["receipts"]) else 1)
    return found


def test_a_request_is_explained_by_the_id_of_its_answer(up: Up, pair: Asked) -> None:
    until_now(lambda: explained(up, pair.request_id).stdout.count("recomputed: same answer") == 2, "both are written")
    done = forebay("explain", pair.request_id, "--redis", up.redis_url)
    assert (done.returncode, done.stderr) == (0, "")
    assert "1 of 2: placement in pool sim by gateway" in done.stdout
    assert "2 of 2: rebinding of the decode leg" in done.stdout
    for rank in (*up.ranks("prefill"), *up.ranks("decode")):
        assert rank in done.stdout


def test_programs_get_the_same(up: Up, pair: Asked) -> None:
    until_now(lambda: len(as_json(up, pair.request_id)["receipts"]) == 2, "both are written")
    placement, rebinding = as_json(up, pair.request_id)["receipts"]
    receipts = [msgspec.convert(each["receipt"], Receipt, strict=False) for each in (placement, rebinding)]
    assert receipts[0].chosen[0].rank == pair.headers["x-forebay-prefill"]
    assert [each.rank for each in receipts[1].chosen] == [pair.headers["x-forebay-decode"]]
    assert receipts[0].gateway == pair.headers["x-forebay-gateway"]
    assert {each.rank for each in receipts[0].known} == {*up.ranks("prefill"), *up.ranks("decode")}
    assert not placement["other_rules"]


def test_a_changed_receipt_fails_and_names_what_was_changed(up: Up, pair: Asked) -> None:
    until_now(lambda: len(as_json(up, pair.request_id)["receipts"]) == 2, "both are written")
    with redis.Redis.from_url(up.redis_url) as client:
        entries: list[tuple[bytes, dict[bytes, bytes]]] = client.xrange(KEY)
        whole = next(fields for _, fields in entries if fields[b"request"] == pair.request_id.encode())
        receipt, intact = read(whole[b"receipt"], whole[b"digest"].decode())
        assert intact
        first, second = receipt.legs
        others = [each for each in range(1, len(receipt.candidates) + 1) if each not in receipt.legs]
        elsewhere = next(
            each for each in others if receipt.candidates[each - 1].kind is receipt.candidates[second - 1].kind
        )
        changed = msgspec.structs.replace(receipt, request="forged", legs=(first, elsewhere))
        again = write(changed)
        client.xadd(KEY, {"request": "forged", "digest": again.digest, "receipt": again.packed})
        client.xadd(KEY, {"request": "spoilt", "digest": whole[b"digest"], "receipt": again.packed})
        client.xadd(KEY, {"request": "junk", "digest": "", "receipt": b"\x00"})
    forged, spoilt, junk = (explained(up, request) for request in ("forged", "spoilt", "junk"))
    assert (forged.exit_code, spoilt.exit_code, junk.exit_code) == (1, 1, 1)
    assert f"legs[2]: the receipt has {elsewhere}, recomputed {second}" in forged.stdout
    assert "digest: " in spoilt.stdout
    assert "a receipt of this request that cannot be read: pool sim" in junk.stdout


def test_a_request_without_a_receipt_is_told_how_to_get_one(up: Up) -> None:
    done = explained(up, "nobody")
    assert done.exit_code == 1
    assert "there is no receipt of 'nobody'" in done.stderr
    assert "x-forebay-explain" in done.stderr


def test_receipts_are_counted(up: Up, pair: Asked) -> None:
    until_now(lambda: len(as_json(up, pair.request_id)["receipts"]) == 2, "both are written")
    page = httpx.get(f"{up.gateways[0]}/metrics", trust_env=False).text
    (line,) = [
        line for line in page.splitlines() if line.startswith('forebay_scheduler_events_total{event="receipts"}')
    ]
    assert float(line.split()[-1]) >= 2
