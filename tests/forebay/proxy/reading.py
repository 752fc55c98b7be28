"""Reads a command line of a proxy as the command does, without running one."""

import os
import re
import shlex

import click
from click.testing import CliRunner, Result

from forebay.cli.proxy import ProxyCommand
from forebay.options import settings_options
from forebay.proxy.settings import ProxySettings


def words_of(text: str) -> list[str]:
    """The words after `python`, as a shell takes them apart."""
    return shlex.split(re.sub(r"\\\n", "", text))[1:]


class Reading:
    """What one command line came to: settings, or why it was refused."""

    def __init__(self, words: list[str], **variables: str) -> None:
        self._settings: ProxySettings | None = None

        @click.command(cls=ProxyCommand)
        @settings_options(ProxySettings)
        def command(settings: ProxySettings) -> None:
            self._settings = settings

        ours: dict[str, str | None] = {name: None for name in os.environ if name.startswith("FOREBAY_")}
        self.result: Result = CliRunner().invoke(command, words, env=ours | variables)

    @property
    def settings(self) -> ProxySettings:
        assert self._settings is not None, self.result.output
        return self._settings

    @property
    def ranks(self) -> dict[str, list[str]]:
        return {role: [target.name for target in targets] for role, targets in self.settings.targets.items()}

    @property
    def refusal(self) -> str:
        """The one line that says why."""
        assert self.result.exit_code == 2, self.result.output
        return self.result.output.strip().splitlines()[-1]
