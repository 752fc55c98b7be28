"""`forebay gateway --workers N`: N gateways behind one port, each a process and a gateway of its own to the ledger."""

from __future__ import annotations

import anyio
import msgspec

from forebay.children import Children
from forebay.options import variable, variables_of
from forebay.settings import GatewayCommandSettings
from forebay.supervise import Household, supervise


async def serve_by_workers(settings: GatewayCommandSettings, household: Household) -> None:
    """Run the workers until a signal, as `supervise` does, and raise what that raises."""

    async def start(running: Children) -> str:
        names = [f"worker-{index}" for index in range(settings.workers)]
        # By environment, since the settings hold keys; one worker each, whatever ours says.
        alone = msgspec.structs.replace(settings.gateway, reuse_port=True)
        variables = variables_of(alone) | {variable("workers"): "1"}
        stage = await running.start_stage(dict.fromkeys(names, ("gateway",)), variables)
        async with anyio.create_task_group() as tasks:
            for worker in stage:
                tasks.start_soon(worker.ready, name=f"start of {worker.name}")
        gateway = settings.gateway
        return f"gateway ready: {settings.workers} workers on {gateway.host} port {gateway.port}"

    await supervise(start, household)
