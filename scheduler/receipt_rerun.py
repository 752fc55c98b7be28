"""From what a receipt asked and saw to the choice, once more: by the scripts that serve, or, alone, by what does."""

from __future__ import annotations

from collections.abc import Iterator

from scheduler import calls
from scheduler.alone import choose_alone, own_decode
from scheduler.decision import Candidate
from scheduler.keys import PoolKeys
from scheduler.messages import Phase
from scheduler.misfit import Misfit, misfits
from scheduler.pending import Question, StoreAnswer
from scheduler.receipt import Receipt, Verdict
from scheduler.receipt_making import Outcome, answered, price_believed
from scheduler.settings import SchedulerSettings
from scheduler.store import Store

_EPOCH, _GATEWAY = "e1", "g"


async def rerun(receipt: Receipt, store: Store) -> list[Misfit]:
    """Where the outcome is not what comes out again; `store` is empty, nobody else's, and its clock stands still.

    Raises StoreRejectedError where the scripts fail on what the receipt says.
    """
    if receipt.alone:
        return list(_alone_again(receipt))
    if len(receipt.rows) != len(receipt.candidates):
        return [Misfit("rows", f"{len(receipt.rows)} ranks' rows", f"{len(receipt.candidates)}, one of each candidate")]
    keys, held = PoolKeys(receipt.pool), receipt.held and receipt.held.at(Phase.PREFILL_DONE)
    await _restore(receipt, store, keys)
    head = calls.Head(_EPOCH, SchedulerSettings().lease_ms, _GATEWAY, 1)
    if held:
        await store.command("HSET", keys.live(_GATEWAY), receipt.reservation, held.record())
        call = calls.rebind(keys, head, receipt.reservation, held.record(), receipt.ask)
    else:
        call = calls.place(keys, head, receipt.reservation, receipt.ask)
    (reply,) = await store.run([call])
    if reply[0] == b"resync" or len(reply) < 6:
        return [Misfit("ask", "an ask", "none that the script explains")]
    again = answered(StoreAnswer.read(Question(receipt.reservation, receipt.ask, held), reply))
    return [
        each
        for name in Outcome.__struct_fields__
        for each in misfits(name, getattr(receipt, name), getattr(again, name))
    ]


async def _restore(receipt: Receipt, store: Store, keys: PoolKeys) -> None:
    """The store as the script found it, as far as it looked."""
    seconds, micros = map(int, await store.command("TIME"))
    now_ms = seconds * 1000 + micros // 1000
    await store.command("SET", keys.head, f"{_EPOCH} {now_ms} {receipt.rows_ms} 1")
    await store.command("HSET", keys.gate, _GATEWAY, "0 0 0")
    for each, rows in zip(receipt.candidates, receipt.rows, strict=True):
        if rows.load:
            await store.command("HSET", keys.load, f"{each.rank} {each.incarnation}", rows.load)
        if rows.seen:
            await store.command("HSET", keys.seen, each.rank, rows.seen)
        for name, total in zip("qnk", rows.group.split(), strict=False):
            await store.command("HSET", keys.group, f"{each.group}:{name}", total)


def _alone_again(receipt: Receipt) -> Iterator[Misfit]:
    believed, ages = receipt.believed, {each.rank: receipt.pool_ms - each.sampled_ms for each in receipt.known}
    loads = tuple(price_believed(each, believed[each.rank], ages[each.rank]) for each in receipt.candidates)
    yield from misfits("loads", receipt.loads, loads)
    yield from misfits("verdict", receipt.verdict, Verdict.PLACE)
    yield from misfits("cost_s", receipt.cost_s, 0.0)
    if receipt.held is None:
        chosen: tuple[Candidate, ...] = choose_alone(receipt.ask, believed)
    elif own := own_decode(receipt.ask, receipt.held):
        chosen = (own,)
    else:
        chosen = receipt.chosen  # the cheaper one of two by chance
    yield from misfits("legs", receipt.legs, tuple(receipt.candidates.index(each) + 1 for each in chosen))
