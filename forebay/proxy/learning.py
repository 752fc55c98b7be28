"""What model the ranks serve: the proxies that are stood in for were not told."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from signal import SIGINT, SIGTERM

import anyio
import httpx

from agent.discovery import Description
from agent.errors import DiscoveryError
from agent.probe import Probe, open_http
from agent.settings import AgentSettings
from agent.targets import Target

AGAIN_AFTER_S = 0.5
AT_ONCE = 16
REMIND_AFTER_S = 30.0

log = logging.getLogger(__name__)


async def learn_model(targets: Sequence[Target], settings: AgentSettings) -> str:
    """The model of the first rank, in their order, of those that answer first; waits until one does.

    `settings` say how ranks are asked. What a rank serves beside it, adapters and other names, it knows itself.
    """
    async with open_http() as http:
        said: dict[str, str] = {}
        reminded_s = -REMIND_AFTER_S
        while True:
            complaints: dict[str, str] = {}
            answers = await _ask_all(http, targets, settings, complaints)
            if models := [model for target in targets if (model := _model_in(answers.get(target)))]:
                return models[0]
            if complaints != said and anyio.current_time() - reminded_s >= REMIND_AFTER_S:
                reminded_s, said = anyio.current_time(), complaints
                rank, why = next(iter(complaints.items()))
                log.warning("waiting for one of %d ranks to say what it serves; %s: %s", len(targets), rank, why)
            await anyio.sleep(AGAIN_AFTER_S)


async def learn_model_until_signal(targets: Sequence[Target], settings: AgentSettings) -> str:
    """The same; empty where SIGTERM or SIGINT came before."""
    model = ""
    async with anyio.create_task_group() as tasks:

        async def end_on_signal() -> None:
            with anyio.open_signal_receiver(SIGTERM, SIGINT) as signals:
                await anext(signals)
                tasks.cancel_scope.cancel()

        tasks.start_soon(end_on_signal, name="signals")
        model = await learn_model(targets, settings)
        tasks.cancel_scope.cancel()
    return model


async def _ask_all(
    http: httpx.AsyncClient, targets: Sequence[Target], settings: AgentSettings, complaints: dict[str, str]
) -> Mapping[Target, Description]:
    answers: dict[Target, Description] = {}
    limiter = anyio.CapacityLimiter(AT_ONCE)

    async def ask(target: Target) -> None:
        async with limiter:
            try:
                answers[target] = await Probe(http, target.url, settings).describe()
            except DiscoveryError as error:
                complaints[target.name] = str(error)

    async with anyio.create_task_group() as tasks:
        for target in targets:
            tasks.start_soon(ask, target, name=f"model of {target.name}")
    return answers


def _model_in(about: Description | None) -> str:
    """The model itself, which vLLM lists before its adapters."""
    return next((model.id for model in about.models if model.parent is None), "") if about else ""
