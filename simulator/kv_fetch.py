"""Sequences whose prompt's KV is on its way from another engine (vLLM: WAITING_FOR_REMOTE_KVS). Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from collections.abc import Sequence as Row

import msgspec

from simulator.kv_cache import KvCache
from simulator.kv_taint import taint_of
from simulator.layer_params import PrefillCall
from simulator.sequence import Sequence
from simulator.transfer_params import RemoteKv


class EngineDeadError(Exception):
    """The engine has met what vLLM's dies of; the whole server ends."""


class PullOrder(msgspec.Struct, frozen=True):
    """Fetch the contents of `block_ids` there, in this order, for this request.

    A joint one is for the last blocks of the prompt, as many: whoever has them knows which these are.
    """

    request_id: int
    remote: RemoteKv
    block_ids: tuple[int, ...]


class KvFetches:
    """They hold blocks for their whole prompt: `pending` until the KV is here, then `ready` until they run.

    With `takes_any` the blocks that are offered need not be enough, as in vllm-ascend; without, as in vLLM.
    """

    def __init__(self, kv: KvCache, *, takes_any: bool = False) -> None:
        self.pending: dict[int, Sequence] = {}
        self.ready: deque[Sequence] = deque()
        self._kv = kv
        self._takes_any = takes_any
        self._orders: list[PullOrder] = []
        self._calls: list[PrefillCall] = []
        self._abandoned: set[int] = set()

    def begin(self, sequence: Sequence, block_size_tokens: int) -> None:
        """Fetch what the sequence's first `published` blocks do not have, or call for it. Raises EngineDeadError."""
        request = sequence.request
        if request.pull is not None:
            self._pull(sequence, request.pull)
        elif request.layers is not None:
            self.pending[request.request_id] = sequence
            sequence.fetched = True
            cached_tokens = sequence.published * block_size_tokens
            self._calls.append(PrefillCall(request.request_id, request.layers, tuple(sequence.blocks), cached_tokens))

    def _pull(self, sequence: Sequence, remote: RemoteKv) -> None:
        """More blocks there than are missing here: the last of them are read. With `takes_any` those are read that
        follow the published ones, as many as there are. Raises EngineDeadError for none, or else for too few.
        """
        missing = len(sequence.blocks) - sequence.published
        lacks = not remote.block_ids or (len(remote.block_ids) < missing and not self._takes_any)
        if lacks and not remote.joint:
            raise EngineDeadError(f"{len(remote.block_ids)} blocks are offered for {missing}")
        first = sequence.published if self._takes_any else len(remote.block_ids) - missing
        self.pending[sequence.request.request_id] = sequence
        sequence.fetched = True
        if remote.complete:
            blocks = (0,) * missing if remote.joint else remote.block_ids[first : first + missing]
            order = PullOrder(sequence.request.request_id, remote, blocks)
            self._orders.append(order)

    def take_orders(self) -> list[PullOrder]:
        """What is to be fetched and was not told before."""
        orders, self._orders = self._orders, []
        return orders

    def take_calls(self) -> list[PrefillCall]:
        """The prefills that are to be called for and were not before."""
        calls, self._calls = self._calls, []
        return calls

    def arrived(self, request_id: int, contents: Row[int]) -> int:
        """Write the KV; the last token will be computed here. Returns the taint: 0 if this is the prompt's own KV.

        Blocks that nothing came for keep what they held.
        """
        sequence = self.pending.pop(request_id)
        if request_id in self._abandoned:
            self._free(request_id, sequence)
            return 0
        first = sequence.published
        for block, content in zip(sequence.blocks[first:], contents, strict=False):
            self._kv.write(block, content)
        taint = taint_of(self._kv.held(sequence.blocks[first:]), [*sequence.keys, sequence.state][first:])
        sequence.taint = taint_of((taint,), (0,), sequence.taint)
        for block, key in zip(sequence.blocks[first:], sequence.keys[first:], strict=False):
            self._kv.publish(block, key)
        sequence.published = len(sequence.keys)
        sequence.external_tokens = sequence.num_tokens - sequence.computed
        sequence.computed = sequence.num_tokens - 1
        self.ready.append(sequence)
        return taint

    def failed(self, request_id: int) -> Sequence | None:
        """The KV does not come: the sequence without blocks, or None where nobody waits for it any more."""
        sequence = self.pending.pop(request_id)
        abandoned = request_id in self._abandoned
        self._free(request_id, sequence)
        return None if abandoned else sequence

    def drop(self, request_ids: Iterable[int]) -> bool:
        """Forget requests. The blocks of a fetch under way are freed when it ends, since it still writes to them.

        Nobody but the engine that pushes tells when a push ends: if it never does, the blocks are lost, as in vLLM.
        """
        gone = set(request_ids)
        dropped = [sequence for sequence in self.ready if sequence.request.request_id in gone]
        for sequence in dropped:
            self.ready.remove(sequence)
            self._kv.release(sequence.blocks)
        for request_id in gone & self.pending.keys():
            sequence = self.pending[request_id]
            pull = sequence.request.pull
            if sequence.request.layers is None and (pull is None or not pull.complete):
                self._free(request_id, self.pending.pop(request_id))
                dropped.append(sequence)
            else:
                self._abandoned.add(request_id)
        return bool(dropped)

    def _free(self, request_id: int, sequence: Sequence) -> None:
        self._abandoned.discard(request_id)
        self._kv.release(sequence.blocks)
        sequence.blocks = []
        sequence.computed = sequence.published = sequence.taint = 0
