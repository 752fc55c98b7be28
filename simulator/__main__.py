"""`python -m simulator`: one simulated rank in the foreground; its options are the fields of RankSettings."""

from __future__ import annotations

import asyncio
from typing import Any

import click
import msgspec
import uvloop

from simulator.server import serve
from simulator.settings import BadOptionError, RankSettings, from_options, help_texts, option_name


def _options() -> list[click.Parameter]:
    helps = help_texts()
    return [
        click.Option(
            [option_name(field.name), field.name],
            default=str(field.default),
            show_default=True,
            help=helps[field.name],
        )
        for field in msgspec.structs.fields(RankSettings)
    ]


def _run(**options: Any) -> None:
    """One simulated vLLM rank."""
    try:
        settings = from_options(options)
    except BadOptionError as error:
        raise click.BadParameter(error.reason, param_hint=option_name(error.option)) from None
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serve(settings, click.echo))
    except OSError as error:
        raise click.ClickException(f"cannot listen on {settings.host}:{settings.port}: {error.strerror}") from None


main = click.Command("rank", callback=_run, params=_options(), help=_run.__doc__)

if __name__ == "__main__":
    main(prog_name="python -m simulator")
