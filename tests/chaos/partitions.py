"""Whether a run cuts its links in network namespaces of their own, or by the TCP proxies that all links are. Pure."""

from __future__ import annotations

from typing import Literal

import msgspec

Means = Literal["namespaces", "proxy"]


class Partitions(msgspec.Struct, frozen=True):
    """What links are cut with; `because` says why by the proxy."""

    means: Means
    because: str = ""

    @property
    def words(self) -> str:
        """For people."""
        return "in network namespaces" if self.means == "namespaces" else f"by a TCP proxy ({self.because})"


def partitions(wanted: Means | None, hindrance: str, *, theirs: bool) -> Partitions:
    """What can be had of what is wanted, where `hindrance` says why there can be no namespace, if so.

    Another router (`theirs`) may have been told of ranks on 127.0.0.1.
    """
    if wanted == "proxy":
        return Partitions("proxy", "as was asked for")
    because = "another router was told of ranks on 127.0.0.1" if theirs else hindrance
    return Partitions("proxy", because) if because else Partitions("namespaces")
