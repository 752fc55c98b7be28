"""What a peer's rule is asked and told: one gateway's, which knows no ledger and no other gateway. Pure.

The rules are written from the peers' sources in our words, for comparison only: nobody serves with them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, NamedTuple

from scheduler.decision import LegKind
from simulator.cluster.request import SimRequest


class Leg(NamedTuple):
    """One leg of a request on its rank."""

    kind: LegKind
    rank: str
    request: SimRequest


class Rule(ABC):
    """Chooses among the ranks it is given, of which there is at least one, and hears of the legs of its own requests.

    `decodes_late`: the decode rank is chosen when the prefill is done, not along with the prefill rank. Where there are
    pairs, `whole_rank` is asked first whether a decode rank is to do it all. A mixed rank that serves the whole request
    is chosen by `prefill_rank`, which sees prefill and mixed ranks in one list.

    Every leg gets `began` when it is chosen, `prefilled` when its prompt is computed (a decode leg never), `answered`
    when the client has the first token, and `ended` when it has the last, whichever leg that came from.
    """

    decodes_late: ClassVar[bool] = False

    @abstractmethod
    def prefill_rank(self, request: SimRequest, ranks: Sequence[str]) -> str:
        """The rank of the first leg."""

    @abstractmethod
    def decode_rank(self, request: SimRequest, ranks: Sequence[str]) -> str:
        """The rank of the second leg."""

    def whole_rank(self, request: SimRequest, ranks: Sequence[str]) -> str | None:
        """The decode rank that is to prefill too; None, as with most rules, where another is to prefill for it."""
        return None

    def began(self, leg: Leg) -> None:  # noqa: B027 - most rules hear of few of these
        """The leg's rank is chosen."""

    def prefilled(self, leg: Leg) -> None:  # noqa: B027
        """The leg's prompt is computed."""

    def answered(self, leg: Leg) -> None:  # noqa: B027
        """The client has its first token."""

    def ended(self, leg: Leg) -> None:  # noqa: B027
        """The client has its last token."""
