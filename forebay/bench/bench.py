"""A benchmark from its start to its end: starts every target, visits them in turn round by round, ends them."""

from __future__ import annotations

import resource
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from forebay.bench.errors import BenchError, TargetError
from forebay.bench.loader import Loader, loader
from forebay.bench.machine import machine
from forebay.bench.measuring import measure
from forebay.bench.plan import GATEWAYS, Case, MemoryCase, cases
from forebay.bench.processes import Processes, processes
from forebay.bench.report import Report, Sample, figures
from forebay.bench.settings import BenchSettings
from forebay.bench.starting import GATEWAY_OPTIONS, peer_paths, start_backend, start_forebay, start_peer
from forebay.bench.target import Target


async def bench(settings: BenchSettings, environment: Mapping[str, str], say: Callable[[str], None]) -> Report:
    """Run it; `say` hears of progress. Raises BenchError when nothing can be measured."""
    _raise_descriptor_limit()
    paths = peer_paths(settings)
    with tempfile.TemporaryDirectory(prefix="forebay-bench-") as folder:
        async with processes(environment) as running, loader(running) as load:
            run = _Run(settings, running, load, say)
            await run.start(paths, Path(folder))
            for number in range(settings.rounds):
                await run.visit(number)
    return Report(
        machine=await machine(paths),
        settings=msgspec.to_builtins(settings),
        samples=run.samples,
        figures=figures(run.samples),
        left_out=run.left_out,
    )


class _Run:
    def __init__(self, settings: BenchSettings, running: Processes, load: Loader, say: Callable[[str], None]) -> None:
        self.samples: list[Sample] = []
        self.left_out: dict[str, str] = {}
        self._settings = settings
        self._running = running
        self._load = load
        self._say = say
        self._targets: list[Target] = []

    async def start(self, paths: Mapping[str, str], folder: Path) -> None:
        """Start the backend and all targets; those that do not start are left out."""
        settings = self._settings
        try:
            direct = await start_backend(settings.chunk_times, self._running)
        except TargetError as error:
            raise BenchError(str(error)) from error
        backends = direct.addresses(1)
        if settings.wants("direct"):
            self._targets.append(direct)
        if any(settings.wants(name) for name in GATEWAY_OPTIONS):
            gateways = GATEWAYS if "gateways" in settings.measures else 1
            try:
                self._targets += await start_forebay(backends, gateways, folder, self._running, settings.wants)
            except TargetError as error:
                self._leave_out("forebay", error)
        for name, path in paths.items():
            try:
                self._targets.append(await start_peer(name, path, backends, folder, self._running))
            except TargetError as error:
                self._leave_out(name, error)
        if missing := [name for name in settings.target if name not in {each.name for each in self._targets}]:
            for name in missing:
                self.left_out.setdefault(name, f"no program {settings.peer.get(name, name)}; give --peer {name}=PATH")
        if not self._targets:
            raise BenchError("nothing to measure\n" + "\n".join(self.left_out.values()))
        self._say(f"measuring {', '.join(target.name for target in self._targets)}")

    async def visit(self, number: int) -> None:
        """One round: every case on every target; the targets take turns in being first."""
        for case in cases(self._settings):
            if isinstance(case, MemoryCase) and number > 0:
                continue
            turn = number % len(self._targets)
            for target in self._targets[turn:] + self._targets[:turn]:
                if len(target.entrances) >= case.gateways or target.name == "direct":
                    await self._measure(case, target, number)

    async def _measure(self, case: Case, target: Target, number: int) -> None:
        name = f"{target.name}: {case.name}"
        if target.name in self.left_out or name in self.left_out:
            return
        try:
            values = await measure(case, target, self._load)
        except TargetError as error:
            self._leave_out(target.name if target.ended else name, error)
        else:
            self.samples.append(Sample(case.name, target.name, number, values))
            self._say(f"round {number + 1}, {name}")

    def _leave_out(self, name: str, error: TargetError) -> None:
        self.left_out[name] = str(error)
        self._say(f"left out, {name}: {error}")


def _raise_descriptor_limit() -> None:
    """Each stream needs two descriptors in a proxy; what is started inherits the limit."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
