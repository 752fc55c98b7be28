"""Where KV may be that ranks hand to each other: where ranks may be, and on the machine of a rank itself.

What a card says of it is looked at when the card is read (scheduler/view.py); this is for what a rank says of a single
request.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable

from gateway.errors import RankFailedError
from scheduler.endpoints import AllowedHosts, is_local
from scheduler.messages import RankCard

log = logging.getLogger(__name__)


class AllowedKv:
    """By the hosts that are allowed; all if none is named."""

    def __init__(self, hosts: Iterable[str]) -> None:
        self._allowed = AllowedHosts(hosts)

    def require(self, rank: RankCard, hosts: Iterable[str]) -> None:
        """Raise RankFailedError if a rank says that KV is, or goes, where none may be."""
        for host in hosts:
            if not is_local(host) and not self._allowed.admits(host.strip("[]")):
                log.warning("%s names %s for KV, which --allow-ranks does not have", rank.rank, host)
                raise RankFailedError("The rank names a host for KV that is not among those that are allowed")
