"""The ledger in Redis against a recount of its own reservations, both read at one instant."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from scheduler.keys import PoolKeys
from tests.chaos.settings import MODEL
from tests.chaos.store_side import answer
from tests.invariants.recount import count_of, recount

READ: Final = """
local found = {redis.call('HGETALL', KEYS[1]), redis.call('HGETALL', KEYS[2]), {}}
for _, name in ipairs(redis.call('KEYS', ARGV[1])) do
  for _, record in ipairs(redis.call('HVALS', name)) do table.insert(found[3], record) end
end
return found
"""


class Audit(NamedTuple):
    """How many reservations there are, and where ledger and recount differ; empty where they do not."""

    reservations: int
    difference: str


async def audit(port: int) -> Audit | None:
    """None while Redis does not answer."""
    keys = PoolKeys(MODEL)
    pattern = keys.live("*").replace("{", "\\{").replace("}", "\\}")
    found: Sequence[Any] | None = await answer(port, "EVAL", READ, "2", keys.load, keys.group, pattern)
    return None if found is None else _compared(*found)


def _compared(loads: Sequence[bytes], groups: Sequence[bytes], records: Sequence[bytes]) -> Audit:
    written = count_of(_text(loads), _text(groups))
    counted = recount(record.decode() for record in records)
    if written == counted:
        return Audit(len(records), "")
    lives = {*written.lives, *counted.lives}
    differing = [life for life in sorted(lives) if written.lives.get(life) != counted.lives.get(life)]
    life = differing[0] if differing else "groups"
    return Audit(len(records), f"{life}: ledger {written.lives.get(life)}, recount {counted.lives.get(life)}")


def _text(cells: Sequence[bytes]) -> dict[str, str]:
    words = [cell.decode() for cell in cells]
    return dict(zip(words[::2], words[1::2], strict=True))
