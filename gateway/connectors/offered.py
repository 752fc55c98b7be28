"""What every offer of a prompt's KV must be, whosever it is, before a decode rank gets it. Pure."""

from __future__ import annotations

from typing import Any, Protocol, TypeVar

import msgspec

from gateway.errors import RankFailedError


class Offering(Protocol):
    """The params that all prefill ranks whose KV is pulled write."""

    @property
    def do_remote_prefill(self) -> bool:
        """Whether the prompt is prefilled elsewhere: it offers something."""

    @property
    def do_remote_decode(self) -> bool:
        """Whether it is to be decoded elsewhere: it asks for something."""


Offer = TypeVar("Offer", bound=Offering)


def offered(fields: dict[str, Any], kind: type[Offer]) -> Offer:
    """An offer of this kind. Raises RankFailedError if it is none."""
    try:
        offer = msgspec.convert(fields, kind)
    except msgspec.ValidationError as error:
        raise RankFailedError(f"The prefill rank's kv_transfer_params are malformed: {error}") from error
    if not offer.do_remote_prefill or offer.do_remote_decode:
        raise RankFailedError("The prefill rank's kv_transfer_params offer no prefill")
    if "prompt_token_ids" in fields:
        # vLLM takes them for the prompt, whatever the request's own is.
        raise RankFailedError("The prefill rank's kv_transfer_params have a prompt of their own")
    return offer
