"""A form with an audio file: its pool is found from what comes first, and the rest passes through."""

from __future__ import annotations

from contextlib import closing
from functools import partial

from gateway import wire
from gateway.access import RequestRecord
from gateway.accounting import accounted
from gateway.admission import admit
from gateway.client_body import ClientBody
from gateway.errors import AmbiguousModelError
from gateway.form import FieldFinder, boundary_of
from gateway.gateway import Gateway
from gateway.life import answer_while_there, answer_while_watched
from gateway.patience import Waiting
from gateway.pins import pinned
from gateway.placing import Pool
from gateway.request import Arrival, Request
from gateway.routes import Route
from gateway.serving import Serving
from gateway.shape import AUDIO_BYTES_PER_TOKEN, shape_of_audio

LOOK_AHEAD_BYTES = 1 << 20
"""How much of a form is held back to look for `model` in it: a minute of speech may stand before it."""


class Upload:
    """Serves the requests of one route."""

    def __init__(self, gateway: Gateway, route: Route) -> None:
        self._gateway = gateway
        self._route = route

    async def serve(self, arrival: Arrival) -> None:
        """Serve one request. Raises whatever its client is to be told, and ClientGoneError."""
        settings = self._gateway.settings
        boundary = boundary_of(arrival.head.headers)
        body = ClientBody(
            arrival.receive,
            arrival.head.headers,
            max_bytes=settings.max_upload_bytes,
            waiting=Waiting(self._gateway.patience),
        )
        with closing(body):
            # The body's end shows that its client left only once all before it is taken.
            answer = partial(self._answer, arrival, boundary, body)
            watched = partial(answer_while_watched, arrival.reply, body.watch, answer)
            await answer_while_there(arrival.reply, watched)

    async def _answer(self, arrival: Arrival, boundary: bytes, body: ClientBody) -> None:
        model = await _model_of(body, FieldFinder(boundary, "model"))
        arrival.record.held_bytes = body.taken_bytes
        pool = await self._pool_for(model, arrival.record)
        arrival.record.pool = pool.name
        shape = shape_of_audio(body.declared_bytes, self._route.learned_as, self._gateway.estimator(pool))
        shape = pinned(shape, arrival.rank, pool)
        _, _, record, reply, explain, receipt_for, _ = arrival
        read = wire.without_fields(model)
        request = Request(self._route, arrival.head, body, read, None, record, reply, explain, receipt_for)
        admission = await admit(self._gateway, pool, arrival, self._route, shape)
        with accounted(self._gateway, record, 0), admission:  # of a recording the estimate is none of tokens
            try:
                await Serving(self._gateway, pool, request).run(shape)
            finally:
                record.seen_tokens += max(0, body.taken_bytes // AUDIO_BYTES_PER_TOKEN - shape.prompt_tokens)

    async def _pool_for(self, model: str | None, record: RequestRecord) -> Pool:
        try:
            return await self._gateway.pool_for(model, record)
        except AmbiguousModelError as error:
            where = f"It must be a field among the first {LOOK_AHEAD_BYTES} bytes of the form: put it before `file`"
            raise AmbiguousModelError(f"{error.message} {where}.", param="model") from error


async def _model_of(body: ClientBody, finder: FieldFinder) -> str | None:
    """The form's model, None if it is not among what is looked at."""
    size = 0
    while not finder.is_over and size < LOOK_AHEAD_BYTES and (part := await body.look_ahead()):
        finder.feed(part)
        size += len(part)
    return finder.value
