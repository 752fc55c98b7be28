"""A call of each script, as the process makes it whose script it is."""

from __future__ import annotations

from scheduler import calls, limit_calls
from scheduler.calls import Call, GroupMemberRow, Head
from scheduler.group_generation import NONE
from scheduler.limit_rule import EMPTY, Limits
from scheduler.lua import Script
from tests.contract.world import AGENT, LEASE_MS, NumberedGateway, World, sample
from tests.samples import ask, record, single


def call_of(script: Script, world: World, gateway: NumberedGateway) -> Call:
    """Of a pool where rank `a` is up and gateway `g` holds reservation 1 on it."""
    return (_by_gateway(world, gateway.next_head()) | _by_others(world))[script]


def _by_gateway(world: World, head: Head) -> dict[Script, Call]:
    keys, held = world.keys, {1: record(1, "m a")}
    other = Head(world.epoch, LEASE_MS, "h", 1)
    return {
        Script.PLACE: calls.place(keys, head, 2, ask(single("a"))),
        Script.REBIND: calls.rebind(keys, head, 1, record(2, "d a"), ask(single("a"))),
        Script.ADVANCE: calls.advance(keys, head, held),
        Script.RELEASE: calls.release(keys, head, [1]),
        Script.RENEW: calls.renew(keys, head, 1, 1, "stay"),
        Script.RESYNC: calls.resync(keys, other, ["g"], held),
        Script.PREFIX_LOOK: calls.prefix_look(keys.blocks([bytes(8)])),
        Script.PREFIX_TOUCH: calls.prefix_touch(keys.blocks([bytes(8)]), 1_000, ["0a=1"]),
        Script.BREAKER: calls.breaker(keys, world.epoch, LEASE_MS, [("a", "i1", "", "row")]),
        Script.LIMIT: limit_calls.limit("team", "g", LEASE_MS, Limits(requests_per_minute=1), 0, EMPTY, [1]),
        Script.API_KEYS_READ: limit_calls.api_keys_read(),
        Script.BREAKER: calls.breaker(keys, world.epoch, LEASE_MS, [("a", "i1", "", "i1 x")]),
        Script.RECEIPT_ADD: calls.receipt_add(keys, 10, [("r", "d", b"receipt")]),
    }


def _by_others(world: World) -> dict[Script, Call]:
    keys = world.keys
    return {
        Script.OPEN: calls.open_pool(keys, "e2", ["g"], spoilt="e1"),
        Script.REAP: calls.reap(keys, world.epoch, LEASE_MS, "g", 10),
        Script.REPORT: calls.report(keys, world.epoch, LEASE_MS, AGENT, 3_000, [sample("b")]),
        Script.SNAPSHOT: calls.snapshot(keys, LEASE_MS),
        Script.DRAIN: calls.drain(keys, world.epoch, LEASE_MS, "a"),
        Script.DP_GROUP: calls.dp_group(
            keys,
            (world.epoch, LEASE_MS, "g", "0b"),
            NONE,
            ("joined", "why"),
            GroupMemberRow("n", "0a", 0, 1, 1),
            NONE,
            "up",
        ),
        Script.PREFIX_BELIEVED: calls.prefix_believed(keys.believed(["0a"]), 1_000, [0] * 6),
        Script.API_KEY_PUT: limit_calls.api_key_put("team", b"", b"row", "v1"),
        Script.RECEIPT_FIND: calls.receipt_find(keys, "r", "+", 10),
    }
