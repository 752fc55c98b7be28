"""`forebay explain`: why a request went where it went."""

from __future__ import annotations

import sys

import click
import msgspec
from rich.console import Console

from forebay.ask import ask_store
from forebay.explain import Explanation, explain
from forebay.option_values import Name
from forebay.options import settings_options
from forebay.receipt_tables import tables
from forebay.settings import StoreSettings

WIDTH = 120
"""What the widest table needs, give or take a long name."""


@click.command("explain")
@click.argument("request_id", type=Name())
@click.option("--json", "as_json", is_flag=True, help="For programs: the receipts and what does not fit, as JSON.")
@settings_options(StoreSettings)
def command(settings: StoreSettings, request_id: str, *, as_json: bool) -> None:
    """Show why a request went where it went, and make the decision again.

    REQUEST_ID is the x-request-id of its answer. The exit status is 1 if there is no receipt of it, or one that
    cannot be read, or that does not fit: it was changed, or other rules decided.
    """
    found = ask_store(settings, lambda store, scheduler: explain(store, request_id, scheduler))
    if as_json:
        click.echo(msgspec.json.encode(_plain(found)))
    else:
        console = Console(highlight=False, width=max(WIDTH, Console().width))
        console.print(*tables(found), sep="\n")
    sys.exit(0 if found.fits else 1)


def _plain(found: Explanation) -> dict[str, object]:
    receipts = [
        {
            "pool": each.found.pool,
            "written_ms": each.found.written_ms,
            "same_answer": not each.misfits,
            "other_rules": each.other_rules,
            "misfits": [misfit._asdict() for misfit in each.misfits],
            "receipt": each.found.receipt,
        }
        for each in found.judged
    ]
    return {"request": found.request, "receipts": receipts, "unreadable": found.unreadable, "strange": found.strange}
