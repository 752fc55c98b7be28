"""What a KV connector's protocol asks of a gateway. Pure.

Each connector is one small module. It says what each leg of a pair carries, what of the first leg's answer the second
one needs and for how long, or what both are told where they start at once.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Raw

from gateway.connectors.kv_hosts import found_by
from gateway.prefill_answer import PrefillAnswer
from gateway.wire import Api, Fields
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


class JointIds(msgspec.Struct, frozen=True):
    """What the two legs of one attempt have in common, new for each attempt.

    `request_id` is what both ranks are told in X-Request-Id; `room` is a random number below 2 ** 63.
    """

    request_id: str
    room: int

    @property
    def transfer_id(self) -> str:
        """The name of the transfer, for ranks that match their legs by one."""
        return f"xfer-{self.request_id}"


class JointLeg(msgspec.Struct, frozen=True):
    """A request that is to be split: the API it came by, and its fields."""

    api: Api
    fields: Fields


class Together(ABC):
    """A connector whose legs start at once; the decode rank waits for the prefill rank's KV (gateway/joint_pair.py)."""

    begins_within_s: float
    """From the prefill's answer to the first token of a stream; later the KV is surely gone."""

    frees_by_end: bool
    """Whether a decode rank whose client has left holds the prompt's blocks until the prefill has filled them."""

    needs_length: bool
    """Whether KV is sent only by a prefill that ended at its limit of one token."""

    @abstractmethod
    def lacks(self, prefill: RankCard) -> str:
        """What has to be known of a prefill rank beforehand and is not; empty for nothing."""

    @abstractmethod
    def prefill_body(self, leg: JointLeg, prefill: RankCard, ids: JointIds) -> bytes:
        """What the prefill rank is sent."""

    @abstractmethod
    def decode_body(self, leg: JointLeg, prefill: RankCard, ids: JointIds) -> bytes:
        """What the decode rank is sent."""

    def is_of_another_life(self, params: Mapping[str, Any], prefill: RankCard) -> bool:
        """Whether the prefill rank's answer shows, by its kv_transfer_params, that it is not the one that was meant."""
        del params, prefill
        return False

    @abstractmethod
    def freeing_params(self, prefill: RankCard, ids: JointIds) -> Raw | None:
        """The kv_transfer_params with which a decode rank that refuses a request frees KV that nobody has claimed; None
        where nothing but time does.
        """


Connector = PrefillFirst | Together | DecodeFirst
"""By the order in which its legs start, which is what a pair of ranks is run by (gateway/attempt.py)."""
