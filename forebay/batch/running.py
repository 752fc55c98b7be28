"""Asks what a batch has left to ask: so many requests at once, each answer written down as it comes."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import anyio

from forebay.batch.journal import Journal
from forebay.batch.lines import Failure, Outcome, Response, id_of
from forebay.batch.roster import Roster
from forebay.batch.settings import BatchSettings
from forebay.model_server.asker import Answered, Asker, Patience, Unanswered, asker
from forebay.model_server.server import Server

Noted = Callable[[int], None]
"""Called with the place of a request once what came of it is written down."""


async def run(settings: BatchSettings, server: Server, roster: Roster, journal: Journal, noted: Noted) -> None:
    """Ask until each request has an answer or has failed for good.

    Raises ServerError where the server is not there, BatchInputError where the input changes, OutputError.
    """
    patience = Patience(answer_s=settings.answer_timeout_s, retries=settings.retries, busy_s=settings.busy_timeout_s)
    places = journal.open_places()
    if journal.done == len(roster):
        return
    async with asker(server, settings.concurrency, patience) as asking, anyio.create_task_group() as tasks:
        await asking.check()
        for _ in range(min(settings.concurrency, len(roster) - journal.done)):
            tasks.start_soon(_ask, asking, places, roster, journal, noted)


async def _ask(asking: Asker, places: Iterator[int], roster: Roster, journal: Journal, noted: Noted) -> None:
    for place in places:
        request = roster.request(place)
        found = await asking.ask(request.url, bytes(request.body))
        journal.append(place, _outcome(found, id_of(roster.mark(place)), request.custom_id))
        noted(place)


def _outcome(found: Answered | Unanswered, identity: str, custom_id: str) -> Outcome:
    match found:
        case Answered(status, request_id, body):
            answer = Response(status, request_id or identity, body)
            return Outcome(id=identity, custom_id=custom_id, response=answer, error=None)
        case Unanswered(code, message):
            return Outcome(id=identity, custom_id=custom_id, response=None, error=Failure(code, message))
