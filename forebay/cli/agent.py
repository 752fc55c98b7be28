"""`forebay agent`: the agent of one node."""

from __future__ import annotations

import click

from agent.main import serve
from agent.settings import AgentSettings
from forebay.options import settings_options
from forebay.service import run_service


@click.command("agent")
@settings_options(AgentSettings)
def command(settings: AgentSettings) -> None:
    """Run a node's agent: it reads the node's ranks and publishes their load."""
    run_service(serve, settings)
