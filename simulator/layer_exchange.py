"""KV that one engine pushes to others layer by layer, and what is pushed to it (MooncakeLayerwiseConnector)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final
from uuid import uuid4

import msgspec

from simulator.engine import EngineCore
from simulator.layer_audit import LayerAudit
from simulator.layer_channel import Frame, Layers, Sent, send_layers
from simulator.layer_params import LayerPush, LayerTarget, PrefillCall
from simulator.metaserver_client import MetaserverClient
from simulator.misuse import MisuseBoard
from simulator.settings import RankSettings
from simulator.side_channel_frames import FrameError
from simulator.timing import timing_of

_TRIES: Final = 3


class LayerExchange:
    """Both sides of one engine; `address` is where other engines find it. `loses` tells of each push whether it is to
    be lost, for tests.

    `wake` is called when the core has something to do; `is_open` says whether somebody waits for a request's answer.
    """

    def __init__(
        self,
        wake: Callable[[], None],
        core: EngineCore,
        settings: RankSettings,
        misuse: MisuseBoard,
        is_open: Callable[[int], bool],
    ) -> None:
        self.engine_id = str(uuid4())
        self.address = ("", 0)
        self.loses: Callable[[], bool] = lambda: False
        self.audit = LayerAudit(misuse)
        self._wake, self._core, self._settings, self._misuse = wake, core, settings, misuse
        self._is_open = is_open
        self._timing = timing_of(settings)
        self._metaserver = MetaserverClient()
        self._waiting: dict[str, int] = {}
        self._jobs: asyncio.Queue[Coroutine[Any, Any, None]] = asyncio.Queue()

    async def run(self) -> None:
        """Carry out calls and pushes, until cancelled."""
        async with asyncio.TaskGroup() as jobs:
            while True:
                jobs.create_task(await self._jobs.get(), name="layers")

    def call(self, call: PrefillCall) -> None:
        """Ask the metaserver for the prefill of a request that has its blocks."""
        name = call.leg.name
        self._waiting[name] = call.request_id
        self.audit.called(name)
        self._jobs.put_nowait(self._call(call))
        if self._misuse.strict:
            loop = asyncio.get_running_loop()
            loop.call_later(self._settings.lease_s, self._look_back, name, call.request_id)

    def push(self, push: LayerPush) -> None:
        """Write a prompt's KV into the engine that waits for it, and tell it."""
        if self.loses():
            return
        target = push.target
        first = target.cached_tokens // self._settings.block_size_tokens
        # One block more or less is written than fits where the prompts differ: the other engine will find out.
        pairs = list(zip(target.block_ids[first:], push.contents[first:], strict=False))
        layers = Layers(tuple(block for block, _ in pairs), tuple(content for _, content in pairs))
        self._jobs.put_nowait(self._send(target, [layers, Sent(push.leg.name)], len(pairs)))

    def refused(self, target: LayerTarget) -> None:
        """A prefill leg was refused. A strict rank tells the one that waits, for its audit."""
        if self._misuse.strict:
            self._jobs.put_nowait(self._send(target, [Sent(target.child, failed=True)], 0))

    def layers_written(self, block_ids: tuple[int, ...], contents: tuple[int, ...]) -> None:
        """Another engine writes into these blocks, whoever they belong to."""
        for block, content in zip(block_ids, contents, strict=False):
            if 0 <= block < self._core.kv.num_blocks:
                self._core.kv.write(block, content)

    def layers_sent(self, name: str, *, failed: bool) -> None:
        """Another engine has written all KV of the request, or will not; that is no news to a faithful engine."""
        if failed:
            self.audit.failed(name)
            return
        self.audit.sent(name)
        request_id = self._waiting.pop(name, None)
        if request_id is None or (sequence := self._core.fetches.pending.get(request_id)) is None:
            return
        contents = self._core.kv.held(sequence.blocks[sequence.published :])
        if self._core.loaded(request_id, contents):
            self._misuse.note("wrong_kv", name)
        self._wake()

    async def _call(self, call: PrefillCall) -> None:
        host, port = self.address
        body = msgspec.json.encode(call.params(self.engine_id, host, port, self._settings.block_size_tokens))
        took_s = await self._metaserver.post(call.leg.url or "", body)
        if took_s is not None:
            self.audit.answered(call.leg.name, took_s)

    async def _send(self, target: LayerTarget, frames: list[Frame], blocks: int) -> None:
        if blocks:
            await asyncio.sleep(self._timing.kv_transfer_s(blocks * self._settings.block_size_tokens))
        for _ in range(_TRIES):
            try:
                await send_layers(target.host, target.port, target.engine_id, frames)
            except (OSError, EOFError, FrameError):
                continue
            return

    def _look_back(self, name: str, request_id: int) -> None:
        self.audit.waited(name, is_open=self._is_open(request_id))
