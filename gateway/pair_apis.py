"""Whether a pool's connectors hand over the KV of an API's requests. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from gateway.connectors import CONNECTORS
from gateway.connectors.connector import DecodeFirst
from gateway.wire import Api
from scheduler.messages import RankCard, Role

NAMED_BY_RANKS = frozenset({Api.RESPONSES})
"""Their requests have other names than X-Request-Id, and not the same on two ranks."""


def may_be_paired(api: Api, cards: Iterable[RankCard]) -> bool:
    """Whether a request of this API may be served by two ranks of these."""
    return api not in NAMED_BY_RANKS or any(card.role is Role.PREFILL and _hands_over(card, api) for card in cards)


def _hands_over(prefill: RankCard, api: Api) -> bool:
    connector = CONNECTORS.get(prefill.connector)
    return connector is not None and (not isinstance(connector, DecodeFirst) or api in connector.apis)
