"""Pulls the KV of one engine's requests out of other engines, and keeps it alive there until then."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from itertools import count
from typing import Final, Protocol

from simulator.kv_fetch import PullOrder
from simulator.kv_peer import KvPeer
from simulator.settings import RankSettings
from simulator.side_channel_frames import Contents, Done, Heartbeat
from simulator.timing import timing_of
from simulator.transfer_params import RemoteKv

_HEARTBEATS_PER_LEASE: Final = 6


class KvTaker(Protocol):
    """The engine that wants the KV."""

    def kv_loaded(self, order: PullOrder, contents: Sequence[int], took_s: float) -> None:
        """It is here."""

    def kv_failed(self, order: PullOrder, peer: KvPeer, *, waited_out: bool = False) -> None:
        """It will not come, since the peer is lost, or nobody has sent it for as long as it is waited for."""

    def kv_fatal(self, order: PullOrder) -> None:
        """The other engine has no such blocks."""


class KvPuller:
    """Engines once met need no handshake again, whatever address the params name; one that is gone stays gone.

    `loses` tells of each pull whether it is to fail, for tests.
    """

    def __init__(self, taker: KvTaker, settings: RankSettings) -> None:
        self.loses: Callable[[], bool] = lambda: False
        self._taker = taker
        self._settings = settings
        self._timing = timing_of(settings)
        self._loop = asyncio.get_running_loop()
        self._peers: dict[str, KvPeer] = {}
        self._to_meet: asyncio.Queue[KvPeer] = asyncio.Queue()
        self._admitted: dict[int, RemoteKv] = {}
        self._ordered: set[int] = set()
        self._unscheduled: dict[int, RemoteKv] = {}
        self._awaited: dict[int, asyncio.TimerHandle | None] = {}
        self._numbers = count()
        self._beat: asyncio.TimerHandle | None = None

    async def run(self) -> None:
        """Meet other engines, until cancelled."""
        try:
            async with asyncio.TaskGroup() as handshakes:
                while True:
                    peer = await self._to_meet.get()
                    handshakes.create_task(self._meet(peer), name=f"KV handshake with {peer.engine_id}")
        finally:
            for timer in (self._beat, *self._awaited.values()):
                if timer is not None:
                    timer.cancel()
            for peer in [*self._peers.values()]:
                peer.close()

    def admit(self, request_id: int, remote: RemoteKv) -> None:
        """The engine has the request: NIXL's heartbeats say so to the other one."""
        if remote.joint:
            self._unscheduled[request_id] = remote
        elif remote.complete and remote.block_ids:
            self._admitted[request_id] = remote
            if self._beat is None and self._settings.connector == "nixl":
                self._beat_later()

    def leave(self, request_id: int) -> None:
        """The client is gone. A pull under way goes on to its end; else the other engine is told at once."""
        remote = self._unscheduled.pop(request_id, None)
        if request_id not in self._ordered:
            remote = self._admitted.pop(request_id, remote)
        if remote is not None:
            self.free(remote)

    def free(self, remote: RemoteKv) -> None:
        """Let the other engine free the KV unread. Of those that send it only Mooncake's can be told."""
        if remote.complete and (remote.bootstrap_url or not remote.joint):
            self._peer(remote).send(Done(remote.request_id))

    def pull(self, order: PullOrder) -> None:
        """Carry out an order; the taker hears of it later."""
        self._ordered.add(order.request_id)
        self._unscheduled.pop(order.request_id, None)
        peer = self._peer(order.remote)
        if (peer.lost and not order.remote.joint) or self.loses():
            self._loop.call_soon(self._failed, order, peer)
        elif order.remote.joint:
            self._claim(order, peer)
        else:
            number = next(self._numbers)
            peer.read(number, order.remote.request_id, order.block_ids, partial(self._read, order, peer))

    def _claim(self, order: PullOrder, peer: KvPeer) -> None:
        """Wait for what is sent. An engine that was met and is gone is not missed: what is due from it never comes."""
        wait_s = self._settings.kv_wait_ms / 1000
        ends = self._settings.connector != "nixl_push"
        self._awaited[order.request_id] = self._loop.call_later(wait_s, self._wait_out, order, peer) if ends else None
        if not peer.lost:
            peer.claim(next(self._numbers), order.remote.request_id, partial(self._sent, order, peer))

    def _sent(self, order: PullOrder, peer: KvPeer, answer: Contents | None) -> None:
        if order.request_id not in self._awaited or (answer is None and peer.known):
            return
        self._forget(order)
        self._ordered.add(order.request_id)
        if answer is None or answer.contents is None:
            self._failed(order, peer)
            return
        wanted = len(order.block_ids)
        contents = ((0,) * wanted + answer.contents)[-wanted:]
        took_s = self._timing.kv_transfer_s(wanted * self._settings.block_size_tokens)
        self._loop.call_later(took_s, self._loaded, order, contents, took_s)

    def _wait_out(self, order: PullOrder, peer: KvPeer) -> None:
        self._forget(order)
        self._taker.kv_failed(order, peer, waited_out=True)

    def _peer(self, remote: RemoteKv) -> KvPeer:
        name = remote.engine_id or f"{remote.host} {remote.port}"
        peer = self._peers.get(name)
        if peer is None or (peer.lost and not remote.engine_id):
            peer = self._peers[name] = KvPeer(remote, self._settings.block_size_tokens)
            self._to_meet.put_nowait(peer)
        return peer

    async def _meet(self, peer: KvPeer) -> None:
        await peer.shake_hands(self._settings.kv_handshake_ms / 1000)
        if not peer.known:
            self._peers = {name: other for name, other in self._peers.items() if other is not peer}

    def _read(self, order: PullOrder, peer: KvPeer, answer: Contents | None) -> None:
        if answer is None:
            self._failed(order, peer)
        elif answer.contents is None:
            self._taker.kv_fatal(order)
        else:
            took_s = self._timing.kv_transfer_s(len(order.block_ids) * self._settings.block_size_tokens)
            self._loop.call_later(took_s, self._loaded, order, answer.contents, took_s)

    def _loaded(self, order: PullOrder, contents: tuple[int, ...], took_s: float) -> None:
        self._forget(order)
        self._peer(order.remote).send(Done(order.remote.request_id))
        self._taker.kv_loaded(order, contents, took_s)

    def _failed(self, order: PullOrder, peer: KvPeer) -> None:
        self._forget(order)
        self._taker.kv_failed(order, peer)

    def _forget(self, order: PullOrder) -> None:
        self._ordered.discard(order.request_id)
        if (timer := self._awaited.pop(order.request_id, None)) is not None:
            timer.cancel()
        self._admitted.pop(order.request_id, None)

    def _beat_later(self) -> None:
        every_s = self._settings.lease_s / _HEARTBEATS_PER_LEASE
        self._beat = self._loop.call_later(every_s, self._send_heartbeats)

    def _send_heartbeats(self) -> None:
        self._beat = None
        for remote in self._admitted.values():
            self._peer(remote).send(Heartbeat(remote.request_id))
        if self._admitted:
            self._beat_later()
