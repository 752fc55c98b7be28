"""What a prefill engine has to push once it has computed a prompt. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from simulator.kv_cache import KvCache
from simulator.layer_params import LayerPush
from simulator.sequence import Sequence


def pushes_of(prefilled: Iterable[Sequence], kv: KvCache) -> list[LayerPush]:
    """The pushes of sequences that have just given their first token; their blocks are still theirs.

    A last block that is not full holds the end of the prompt.
    """
    pushes = []
    for sequence in prefilled:
        leg = sequence.request.layers
        if leg is None or leg.target is None:
            continue
        full = len(sequence.request.block_keys)
        contents = (*kv.held(sequence.blocks[:full]), sequence.request.state ^ sequence.taint)
        pushes.append(LayerPush(leg, leg.target, contents))
    return pushes
