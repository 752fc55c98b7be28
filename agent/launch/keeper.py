"""The parent of one rank's processes, which ends all of them, whatever becomes of the agent.

It runs as a process of its own, in a session of its own, on the standard library alone. Every process below it that
loses its parent becomes its child (`adopt_orphans`), so when it has no child left, the rank has no process left: vLLM's
engines, which outlive their API server, and what has called setsid(2) included. The rank ends, by SIGTERM to all of it
and SIGKILL after `stop_timeout_s`,

- when the process that the template became has ended by itself;
- when the agent says so: STOP, or KILL for at once, on standard input;
- when the agent has ended, by kill -9 too: then standard input ends;
- on SIGTERM, SIGINT and SIGHUP.

On standard output it says `started`, or `failed <why>`, and `ended <return code>` once the template's process has.
It ends when nothing is left. Standard error is the rank's log, which the rank writes itself.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress

from agent.launch.processes import adopt_orphans, descendants, end_with_parent, tell

STOP = b"s"
KILL = b"k"
STARTED = "started"
FAILED = "failed"
ENDED = "ended"

_LOG = 2
_AGENT = 0
_KILL_AGAIN_S = 0.05
_NOT_STARTED = 1


class Keeper:
    """Keeps the processes below it until there are none."""

    def __init__(self, template_pid: int, stop_timeout_s: float, wakeup: int) -> None:
        self._template_pid = template_pid
        self._stop_timeout_s = stop_timeout_s
        self._wakeup = wakeup
        self._heeds_agent = True
        self._kill_at_s: float | None = None

    def run(self) -> None:
        """Return when no process is left."""
        while self._reap():
            self._kill_if_due()
            listened_to = [self._wakeup, *([_AGENT] if self._heeds_agent else [])]
            readable, _, _ = select.select(listened_to, [], [], self._wait_s())
            if self._wakeup in readable:
                self._hear_signals(os.read(self._wakeup, 4096))
            if _AGENT in readable:
                self._hear_agent(os.read(_AGENT, 4096))

    def _reap(self) -> bool:
        """Take in what has ended; whether anything is left."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if pid == 0:
                return True
            if pid == self._template_pid:
                say(f"{ENDED} {os.waitstatus_to_exitcode(status)}")
                self._stop()

    def _hear_signals(self, received: bytes) -> None:
        if any(number != signal.SIGCHLD for number in received):
            self._stop()

    def _hear_agent(self, said: bytes) -> None:
        self._heeds_agent = bool(said)
        self._stop()
        if KILL in said:
            self._kill_at_s = time.monotonic()

    def _stop(self) -> None:
        if self._kill_at_s is None:
            self._kill_at_s = time.monotonic() + self._stop_timeout_s
            tell(descendants(os.getpid()), signal.SIGTERM)

    def _kill_if_due(self) -> None:
        if self._kill_at_s is not None and time.monotonic() >= self._kill_at_s:
            # Again and again: a process may have been started while the others were looked up.
            tell(descendants(os.getpid()), signal.SIGKILL)
            self._kill_at_s = time.monotonic() + _KILL_AGAIN_S

    def _wait_s(self) -> float | None:
        return None if self._kill_at_s is None else max(0.0, self._kill_at_s - time.monotonic())


def say(line: str) -> None:
    """Tell the agent, who may have ended."""
    with suppress(BrokenPipeError):
        os.write(1, f"{line}\n".encode())


def main(arguments: Sequence[str]) -> int:
    """Keep one rank: `arguments` are the time for its end in seconds, and its command. The exit code."""
    stop_timeout_s, *command = arguments
    wakeup, woken = os.pipe()
    os.set_blocking(woken, False)
    signal.set_wakeup_fd(woken, warn_on_full_buffer=False)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        # A handler, since what is ignored would stay ignored in the rank.
        signal.signal(number, lambda *_: None)
    try:
        adopt_orphans()
        template = subprocess.Popen(  # noqa: S603  # the operator's own script
            command,
            stdin=subprocess.DEVNULL,
            stdout=_LOG,
            stderr=_LOG,
            start_new_session=True,
            # This process has one thread. Should it be killed, the rank's first process at least is asked to end.
            preexec_fn=lambda: end_with_parent(signal.SIGTERM),  # noqa: PLW1509
        )
    except OSError as error:
        say(f"{FAILED} {' '.join(str(error).split())}")
        return _NOT_STARTED
    say(STARTED)
    Keeper(template.pid, float(stop_timeout_s), wakeup).run()
    template.returncode = 0  # it is reaped; Popen need not ask
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
