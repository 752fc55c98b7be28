"""Few documents that many requests begin with, among requests that share nothing. Pure."""

from __future__ import annotations

from random import Random

import msgspec

from simulator.cluster.request import BLOCK_TOKENS, SimRequest
from simulator.cluster.workloads.poisson import poisson

FIRST_ID = 1 << 48
"""Of the documents' blocks: far above those that are drawn for other prompts."""


class HotDocuments(msgspec.Struct, frozen=True, kw_only=True):
    """What share of the requests begins with one of so many documents, of so many whole blocks each."""

    share: float
    documents: int
    blocks: int


FOUR = HotDocuments(share=0.5, documents=4, blocks=16)
"""Half of the requests, one of four documents of 8,192 tokens each."""
ONE = HotDocuments(share=0.7, documents=1, blocks=32)
"""A document of 16,384 tokens that seven of ten requests share: more than one rank can answer."""


def hot(requests: int, chance: Random) -> list[SimRequest]:
    """So many, one a second on average, with FOUR hot documents."""
    return _heated(poisson(requests, chance), FOUR, chance)


def hottest(requests: int, chance: Random) -> list[SimRequest]:
    """So many, one a second on average, with ONE hot document."""
    return _heated(poisson(requests, chance), ONE, chance)


def _heated(requests: list[SimRequest], hot_documents: HotDocuments, chance: Random) -> list[SimRequest]:
    return [
        _behind(request, chance.randrange(hot_documents.documents), hot_documents)
        if chance.random() < hot_documents.share
        else request
        for request in requests
    ]


def _behind(request: SimRequest, document: int, hot_documents: HotDocuments) -> SimRequest:
    begin = FIRST_ID + document * hot_documents.blocks
    return msgspec.structs.replace(
        request,
        prompt_tokens=request.prompt_tokens + hot_documents.blocks * BLOCK_TOKENS,
        blocks=tuple(range(begin, begin + hot_documents.blocks)) + request.blocks,
    )
