"""The last push of each process before each engine of the ports that are watched. Bounded, whatever is sent.

Pushes name the ports that their process listens on; where none is watched, they are another agent's, or nobody's.
"""

from __future__ import annotations

from collections.abc import Mapping

from agent.stat_push import EnginePush, StatPush, merged

MOST_PUSHES = 4_096
"""Of one port: 64 engines behind 64 processes."""


class PushTable:
    """What `put` was given for the ports that are watched."""

    def __init__(self) -> None:
        self._of: dict[int, dict[int, dict[int, StatPush]]] = {}

    def watch(self, port: int) -> None:
        """Keep what is pushed of this port."""
        self._of.setdefault(port, {})

    def forget(self, port: int) -> None:
        """Keep nothing of it any longer."""
        self._of.pop(port, None)

    def drop(self, port: int) -> None:
        """Keep nothing of what was pushed of it until now."""
        if port in self._of:
            self._of[port] = {}

    def put(self, push: StatPush, now_ns: int) -> bool:
        """Whether the push, received at this monotonic time, is news of a watched port.

        One from the future is of another clock, and one that is no later than what is known, a repetition.
        """
        if max(push.at_ns, push.load_at_ns, push.awake_at_ns) > now_ns:
            return False
        news = [self._put(port, push) for port in push.ports if port in self._of]
        return any(news)

    def of(self, port: int) -> Mapping[str, EnginePush]:
        """What is known of the engines behind a port, by their labels."""
        known = ((engine, merged(tuple(pushes.values()))) for engine, pushes in self._of.get(port, {}).items())
        return {str(engine): push for engine, push in known if push is not None}

    def _put(self, port: int, push: StatPush) -> bool:
        engines = self._of[port]
        before = engines.get(push.engine, {}).get(push.api_index)
        if before is None:
            if sum(map(len, engines.values())) >= MOST_PUSHES:
                return False
        elif (before.pid, before.start_ms) == (push.pid, push.start_ms):
            if push.seq <= before.seq:
                return False
        elif push.start_ms < before.start_ms:
            return False
        else:
            engines.clear()  # the servers were restarted, and all of them are others now
        engines.setdefault(push.engine, {})[push.api_index] = push
        return True
