"""A load test from its calibration to its report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

import msgspec

from forebay.bench.errors import BenchError
from forebay.bench.machine import machine
from forebay.load_test.figures import figures
from forebay.load_test.loading import Heard, Load
from forebay.load_test.own_load import watching
from forebay.load_test.prompts import FEW_WORDS, MANY_WORDS, TokenScale, prose, token_scale
from forebay.load_test.report import Report
from forebay.load_test.requests import PATHS, target
from forebay.load_test.sample import Sample
from forebay.load_test.settings import LoadTestSettings
from forebay.load_test.workload import Workload, warm_up
from forebay.model_server.asker import Answered, Asker, Patience, asker
from forebay.model_server.server import Server
from gateway.usage import Tokens

BINS = 12
LONGEST_REASON = 300
Say = Callable[[str], None]


async def load_test(settings: LoadTestSettings, server: Server, work: Workload, say: Say, heard: Heard) -> Report:
    """Raises BenchError where nothing can be measured, ServerError where the server is not there."""
    async with asker(server, 2, Patience(answer_s=settings.request_timeout_s)) as asking:
        model = settings.model or _only(await asking.models())
        scale = await _scale(asking, settings, model)
    targets = [target(base, settings.api, server.headers) for base in server.bases]
    load = Load(settings, model, targets, server.tls)
    try:
        await _warm_up(load, settings, scale, say)
        say(f"{work.count} requests")
        load.samples, load.most_at_once = [], 0
        async with watching() as watch:
            took_s = await load.run(work.planned(scale), heard)
    finally:
        load.close()
    found = figures(load.samples, took_s, settings)
    late_s = [sample.sent_s - sample.due_s for sample in load.samples if work.is_timed and not sample.held]
    own = watch.own_load(late_s, held=sum(sample.held for sample in load.samples))
    return Report(
        machine=await machine({}),
        urls=server.bases,
        model=model,
        options=_options(settings),
        warmed_up=settings.warmup,
        most_at_once=load.most_at_once,
        figures=found,
        own_load=own,
        doubts=own.doubts(found.ttft),
        over_time=_over_time(load.samples),
    )


def _only(models: Sequence[str]) -> str:
    if len(models) != 1:
        raise BenchError(f"the server has {len(models)} models ({', '.join(models) or 'none'}): name one by --model")
    return models[0]


async def _scale(asking: Asker, settings: LoadTestSettings, model: str) -> TokenScale:
    """How many tokens this server's model makes of words, by its own count."""
    chance, counted = Random(f"{settings.seed} scale"), []
    for words in (FEW_WORDS, MANY_WORDS):
        text = prose(chance, words)
        asked: dict[str, object] = {"model": model, "max_tokens": 1}
        said = {"messages": [{"role": "user", "content": text}]} if settings.api == "chat" else {"prompt": text}
        found = await asking.ask(PATHS[settings.api], msgspec.json.encode(asked | said))
        if not isinstance(found, Answered):
            raise BenchError(f"the first request failed: {found.message}")
        if not found.is_ok:
            reason = bytes(found.body).decode()[:LONGEST_REASON]
            raise BenchError(f"the first request failed: status {found.status}: {reason}")
        try:
            counted.append(msgspec.json.decode(found.body, type=_Counted).usage.prompt_tokens)
        except msgspec.ValidationError as error:
            raise BenchError(f"the server does not say how many tokens a prompt has: {error}") from error
    return token_scale(*counted)


async def _warm_up(load: Load, settings: LoadTestSettings, scale: TokenScale, say: Say) -> None:
    if not settings.warmup:
        return
    say(f"warm-up: {settings.warmup} requests")
    await load.run(warm_up(settings, scale), lambda _: None)
    if all(sample.error for sample in load.samples):
        raise BenchError(f"every request of the warm-up failed: {load.samples[0].error}")


def _options(settings: LoadTestSettings) -> dict[str, object]:
    """Without what says where the server is and what it is shown."""
    return {name: value for name, value in msgspec.structs.asdict(settings).items() if name != "server"}


def _over_time(samples: Sequence[Sample]) -> tuple[tuple[float, float], ...]:
    good = [sample for sample in samples if not sample.error]
    if not good:
        return ()
    begin_s, end_s = min(each.sent_s for each in good), max(each.sent_s for each in good)
    width_s = max(1e-3, (end_s - begin_s) / BINS)
    bins: dict[int, list[float]] = {}
    for each in good:
        bins.setdefault(min(BINS - 1, int((each.sent_s - begin_s) / width_s)), []).append(1e3 * each.ttft_s)
    return tuple((round(begin_s + (place + 0.5) * width_s, 2), sum(t) / len(t)) for place, t in sorted(bins.items()))


class _Usage(msgspec.Struct):
    prompt_tokens: Tokens


class _Counted(msgspec.Struct):
    usage: _Usage
