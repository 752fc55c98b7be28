"""Says once that a node serves."""

from __future__ import annotations

from collections.abc import Callable

from agent.settings import AgentSettings


class ReadyLine:
    """Says it at the first rank that the store accepted, or with `waits_for_all` when all ports have one."""

    def __init__(
        self, settings: AgentSettings, ready: Callable[[str], None], *, waits_for_all: bool = False, more: str = ""
    ) -> None:
        self._settings = settings
        self._ready = ready
        self._waits_for_all = waits_for_all
        self._more = more
        self._is_said = False

    def accepted(self, ranks: frozenset[str]) -> None:
        """Hear which ranks the store accepted."""
        ports = {rank.partition("#")[0] for rank in ranks}
        missing = [target.name for target in self._settings.targets if target.name not in ports]
        if self._is_said or not ranks or (missing and self._waits_for_all):
            return
        self._is_said = True
        waiting = f"; waiting for {', '.join(missing)}" if missing else ""
        self._ready(
            f"agent {self._settings.node_name} reports {len(ranks)} {self._settings.rank_role} "
            f"rank{'s' if len(ranks) > 1 else ''} to pool {self._settings.pool}{waiting}{self._more}"
        )
