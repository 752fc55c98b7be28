"""`forebay agent`: the agent of one node."""

from __future__ import annotations

import click
import msgspec

from agent.main import serve
from forebay.drop_in import DropInAgent
from forebay.options import settings_options
from forebay.secret_files import rank_api_key
from forebay.service import run_service
from forebay.settings import AgentCommandSettings


@click.command("agent", cls=DropInAgent)
@settings_options(AgentCommandSettings)
def command(settings: AgentCommandSettings) -> None:
    """Run a node's agent: it reads the node's ranks and publishes their load."""
    key = rank_api_key(settings.agent.rank_api_key, settings.rank_api_key_file)
    run_service(serve, msgspec.structs.replace(settings.agent, rank_api_key=key))
