"""What a KV connector's protocol asks of a gateway. Pure.

Each connector is one small module. It says what each leg of a pair carries, what of the first leg's answer the second
one needs and for how long.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import msgspec
from msgspec import Raw

from gateway.connectors.kv_hosts import found_by
from gateway.prefill_answer import PrefillAnswer
from gateway.wire import Api
from scheduler.messages import RankCard


class Handover(msgspec.Struct, frozen=True):
    """What a prefill rank hands to a decode rank, of the shape the connector knows.

    `params` are as the rank wrote them, None where the decode rank needs none and no KV is held for it; `hosts` are
    where they say the KV is, first the rank's own; `cached_tokens` of the prompt the rank had from its prefix cache,
    None where it does not say.
    """

    params: Raw | None
    hosts: tuple[str, ...]
    cached_tokens: int | None


class PrefillFirst(ABC):
    """A connector whose prefill goes first; the decode rank fetches the KV when it is ready (gateway/pair.py)."""

    reach_within_s: float
    """From the prefill's answer to the decode rank's having the request; later its KV may be another prompt's."""

    prefill_min_tokens: int = 0
    """The least output tokens that a prefill leg asks for, where its API knows such a field; 0 is no word of it."""

    @abstractmethod
    def prefill_params(self) -> Raw | None:
        """The kv_transfer_params that the prefill leg carries, if any."""

    @abstractmethod
    def handover(self, answer: PrefillAnswer, prefill: RankCard) -> Handover | None:
        """What of the prefill rank's answer the decode leg needs; None if it offers no KV.

        Raises RankFailedError if it is of a shape that a decode rank must not be given.
        """

    def decode_params(self, handover: Handover, prefill: RankCard, decode: RankCard) -> Raw | None:
        """The kv_transfer_params that the decode leg carries, if any.

        They are verbatim, but for hosts that mean another machine to the decode rank.
        """
        return handover.params and found_by(decode, prefill, handover.params, handover.hosts)


class Call(msgspec.Struct, frozen=True):
    """A decode rank's call to have a prompt prefilled: `params` as it wrote them, for the `child` that waits.

    `remote_host` is where it says the KV is to be pushed.
    """

    child: str
    params: Raw
    remote_host: str


class DecodeFirst(ABC):
    """A connector whose decode rank goes first; it calls a URL of the gateway's when it has room for the KV, which the
    prefill rank then pushes (gateway/decode_first_pair.py).
    """

    apis: frozenset[Api]
    """Where both ranks call a request by the same name, which is how they find each other."""

    @abstractmethod
    def decode_params(self, url: str) -> Raw:
        """The kv_transfer_params that the decode leg carries, for a call to this URL."""

    @abstractmethod
    def call(self, body: bytes) -> Call:
        """What a decode rank has sent to the URL. Raises InvalidRequestError if no prefill rank must be given that."""

    @abstractmethod
    def prefill_params(self, call: Call, prefill: RankCard, decode: RankCard) -> Raw:
        """The kv_transfer_params that the prefill leg carries."""


Connector = PrefillFirst | DecodeFirst
"""By the order in which its legs start, which is what a pair of ranks is run by (gateway/attempt.py)."""
