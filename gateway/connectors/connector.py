"""What a KV connector's protocol asks of a gateway. Pure.

Each connector is one small module. It says what each leg of a pair carries, what of the first leg's answer the second
one needs and for how long, and how KV is freed that nobody will fetch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import msgspec
from msgspec import Raw

from gateway.prefill_answer import PrefillAnswer
from scheduler.messages import RankCard


class Handover(msgspec.Struct, frozen=True):
    """What a prefill rank hands to a decode rank, of the shape the connector knows.

    `params` are as the rank wrote them; `remote_host` is where it says its KV is; `cached_tokens` of the prompt it had
    from its prefix cache, None where it does not say.
    """

    params: Raw
    remote_host: str
    cached_tokens: int | None


class PrefillFirst(ABC):
    """A connector whose prefill goes first; the decode rank fetches the KV when it is ready (gateway/pair.py)."""

    reach_within_s: float
    """From the prefill's answer to the decode rank's having the request; later its KV may be another prompt's."""

    @abstractmethod
    def prefill_params(self) -> Raw:
        """The kv_transfer_params that the prefill leg carries."""

    @abstractmethod
    def handover(self, answer: PrefillAnswer, prefill: RankCard) -> Handover | None:
        """What of the prefill rank's answer the decode leg needs; None if it offers no KV.

        Raises RankFailedError if it is of a shape that a decode rank must not be given.
        """

    @abstractmethod
    def decode_params(self, handover: Handover, prefill: RankCard, decode: RankCard) -> Raw:
        """The kv_transfer_params that the decode leg carries."""

    @abstractmethod
    def freeing_body(self, params: Raw, attempt_id: str) -> bytes:
        """The body of a completions request to a decode rank that makes it free KV it was offered, and does nothing
        else.
        """


Connector = PrefillFirst
"""By the order in which its legs start, which is what a pair of ranks is run by (gateway/attempt.py)."""
