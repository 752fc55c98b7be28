"""Watches one port: looks, never two looks at once, folds what it saw and what was pushed, and introduces new lives.

A warm-up may take minutes, and the port's other ranks, or the port itself, may go down meanwhile.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable

import anyio
import msgspec

from agent.discovery import Description, rank_card
from agent.errors import AgentError
from agent.evidence import Answered, Healthy, Silent, Unanswered
from agent.look_times import until_look_s
from agent.port_state import PortState, fold, introduce
from agent.probe import Probe
from agent.pushed_load import fold_pushes, is_over, needs_page
from agent.pushes import Pushes
from agent.rank_state import RankTrack
from agent.settings import AgentSettings
from agent.targets import Target
from scheduler.messages import KvAddress, RankCard, Role

log = logging.getLogger(__name__)


class Watcher:
    """Keeps `port` up to date while `run` runs; `changed` is called whenever it may have changed.

    `complaint` is what is wrong with it, "" if nothing is. `phase`: which part of an interval passes before its looks
    (look_times.py).
    """

    def __init__(
        self,
        target: Target,
        probe: Probe,
        pushes: Pushes,
        settings: AgentSettings,
        changed: Callable[[], None],
        phase: float = 0.0,
    ) -> None:
        self.port = PortState(target=target)
        self._probe = probe
        self._pushes = pushes
        self._settings = settings
        self._changed = changed
        self._phase = phase
        self._answered = asyncio.Event()
        self._warming: set[tuple[str, str]] = set()
        self.complaint = ""

    async def run(self) -> None:
        """Look at the port and introduce its ranks until cancelled."""
        target = self.port.target
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._hear(), name=f"hear of {target.name}")
            tasks.create_task(self._keep_looking(), name=f"look at {target.name}")
            tasks.create_task(self._keep_introducing(), name=f"introduce ranks of {target.name}")

    def fold_pushes(self) -> None:
        """Take in what the port's engines have pushed by now."""
        before = self.port
        self.port = fold_pushes(before, self._pushes.of(before.target))
        if self.port is not before:
            self._changed()

    async def _hear(self) -> None:
        target = self.port.target
        if await self._pushes.watch(target):
            try:
                await anyio.sleep_forever()
            finally:
                self._pushes.forget(target)

    async def _keep_looking(self) -> None:
        while True:
            await self._look()
            await asyncio.sleep(until_look_s(time.monotonic(), self._interval_s(), self._phase))

    def _interval_s(self) -> float:
        idle = self.port.is_idle and not self.port.strangers
        return (self._settings.idle_scrape_ms if idle else self._settings.scrape_ms) / 1e3

    async def _look(self) -> None:
        evidence = await self._probe.look(at_page=needs_page(self.port, time.monotonic()))
        self.fold_pushes()  # all that was pushed before the answer comes first
        before = self.port
        self.port = fold(before, evidence, self._settings, fresh_suffix=secrets.token_hex(4))
        if is_over(before, self.port):
            self._pushes.drop(before.target)
        self._changed()
        match evidence:
            case Answered():
                self._answered.set()
            case Healthy():
                pass
            case Silent(detail) | Unanswered(detail) if self.port.ranks:
                self._complain(f"gives no answer ({detail}); what is known of it ages")
            case _ if not self.port.ranks:
                self._complain(f"is not offered: {evidence.detail}")

    async def _keep_introducing(self) -> None:
        while True:
            await self._answered.wait()
            self._answered.clear()
            await self._introduce_strangers()

    async def _introduce_strangers(self) -> None:
        """Give each new incarnation its card. What cannot be introduced is tried again after the next answer."""
        try:
            if self.port.strangers:
                await self._introduce(await self._probe.describe())
        except AgentError as error:
            self._complain(f"is not offered: {error}")
        else:
            self.complaint = ""

    async def _introduce(self, about: Description) -> None:
        for track in self.port.strangers:
            card = rank_card(track.rank, self.port.target, track.sample, track.incarnation.text, about, self._settings)
            await self._warm_up(track, card)
            self.port = introduce(self.port, [msgspec.structs.replace(card, kv=await self._kv_address(card))])
            self._changed()

    async def _kv_address(self, card: RankCard) -> KvAddress | None:
        """What gateways have to know of a prefill rank before they send it anything, if its connector wants it so."""
        if card.role is not Role.PREFILL:
            return None
        port = self._settings.bootstrap_port_of(self.port.target)
        match self._settings.kv_connector:
            case "nixl_push":
                return await self._probe.kv_of_push(card)
            case "mooncake":
                return await self._probe.kv_of_mooncake(card, port)
            case "sglang":
                return KvAddress(host=self.port.target.host, port=port)
            case _:
                return None

    async def _warm_up(self, track: RankTrack, card: RankCard) -> None:
        """Warm up an engine that has not generated a token yet; one that has was warm before this agent came."""
        life = (card.rank, card.incarnation)
        if track.sample.generation_tokens > 0 and life not in self._warming:
            return
        self._warming.add(life)
        for _ in range(self._settings.warmup):
            await self._probe.warm_up(card)
        self._warming.discard(life)

    def _complain(self, complaint: str) -> None:
        if complaint != self.complaint:
            log.warning("%s %s", self.port.target.name, complaint)
        self.complaint = complaint
