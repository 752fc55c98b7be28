"""Commands that take words of other projects: they are put into our own before options are parsed."""

from __future__ import annotations

import click

from forebay.scheduler_words import mapped


class DropInCommand(click.Command):
    """Takes FastDeploy's scheduler options, and says on standard error what they come to; as others, `translate`."""

    has_requests = True
    """Whether the command serves any, whose life can be bounded."""

    def translate(self, words: list[str]) -> list[str]:
        """Our words for what the command stands in for. Raises ValueError that says what is wrong."""
        return words

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the words as ours. Raises click.UsageError."""
        try:
            ours = mapped(self.translate(args), has_requests=self.has_requests)
        except ValueError as error:
            raise click.UsageError(str(error), ctx) from error
        rest = super().parse_args(ctx, ours.words)
        for note in ours.notes:
            click.echo(note, err=True)
        return rest


class DropInAgent(DropInCommand):
    """An agent serves no requests."""

    has_requests = False
