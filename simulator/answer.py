"""One answer in the making: collects its choices' tokens and writes them to the client."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from simulator.answer_body import AnswerBody
from simulator.api_errors import ApiError
from simulator.choice import Choice
from simulator.exchange import Exchange
from simulator.generation import Generation
from simulator.usage import Usage


class Answer:
    """Answers one request.

    Streamed text leaves as it comes, several tokens in one event where several came since the last one or where the
    client reads slowly. `on_end` is called once, when the answer has ended or its client is gone (then True).
    What is not streamed leaves by `respond`.
    """

    def __init__(
        self,
        generation: Generation,
        body: AnswerBody,
        exchange: Exchange,
        *,
        drop_after_chunks: int | None,
        respond: Callable[[Exchange, bytes], None],
        on_end: Callable[[bool], None],
    ) -> None:
        self._generation = generation
        self._body = body
        self._exchange = exchange
        self._drop_after_chunks = drop_after_chunks
        self._respond = respond
        self._chunks = 0
        self._on_end = on_end
        spread = [prompt for prompt in generation.prompts for _ in range(generation.n)]
        self.choices = [Choice(self, index, prompt, generation) for index, prompt in enumerate(spread)]
        self._unfinished = self._unsent = len(self.choices)
        exchange.on_close = self._abandon
        exchange.on_writable = self._flush_all
        if generation.stream:
            exchange.start_stream()
            if opening := self._framed(body.opening()):
                exchange.send(opening)

    def flush(self, choice: Choice) -> None:
        """Write what the choice has; a client that reads slowly gets it later, in one event."""
        if self._exchange.closed:
            return
        self._unfinished -= choice.finish_reason is not None
        if self._generation.stream:
            if self._exchange.writable:
                self._send(choice)
        elif not self._unfinished:
            self._respond(self._exchange, self._body.whole(self.choices, self._usage()))
            self._on_end(False)

    def fail(self, error: ApiError) -> None:
        """End the answer with an error, in the stream if there is one."""
        if self._exchange.closed:
            return
        if self._generation.stream:
            begun = b"".join(self._framed(self._body.first(each)) for each in self.choices if not each.begun)
            if not (failed := self._framed(self._body.failure(error))):
                self._exchange.drop()
                return
            self._exchange.end_stream(begun + failed)
        else:
            self._exchange.respond(error.status, self._body.refused(error))
        self._on_end(False)

    def abort(self, choice: Choice) -> None:
        """The engine has ended: a stream ends with that, and what is no stream stays without an answer, as in vLLM."""
        if self._exchange.closed or not self._generation.stream:
            return
        choice.finish_reason = "abort"
        choice.pending += 1
        if self._exchange.writable:
            self._send(choice)

    def _flush_all(self) -> None:
        for choice in self.choices:
            if self._exchange.writable and not self._exchange.closed:
                self._send(choice)

    def _send(self, choice: Choice) -> None:
        if not choice.pending or choice.sent:
            return
        finished = choice.finish_reason is not None
        text = choice.text.take(finished=finished)
        framed = b"" if choice.begun else self._framed(self._body.first(choice))
        framed += self._framed(self._body.delta(choice, text, choice.ids))
        choice.begun = True
        choice.ids = []
        choice.pending = 0
        choice.sent = finished
        self._unsent -= finished
        if not self._unsent:
            self._end(framed)
            return
        self._exchange.send(framed)
        self._chunks += 1
        if self._chunks == self._drop_after_chunks:
            self._exchange.drop()

    def _end(self, framed: bytes) -> None:
        self._exchange.end_stream(framed + self._framed(self._body.ending(self.choices, self._usage())))
        self._on_end(False)

    def _framed(self, events: Iterable[bytes]) -> bytes:
        return b"".join(map(self._exchange.frame, events))

    def _abandon(self) -> None:
        self._on_end(True)

    def _usage(self) -> Usage:
        """What a prefill rank had cached counts, not what came from it, where it said so."""
        asked, first = self._generation, self.choices[0]
        remote = asked.pull or asked.spare
        told = None if remote is None else remote.cached_tokens
        return Usage(
            prompt_tokens=sum(len(prompt.ids) for prompt in asked.prompts),
            completion_tokens=sum(choice.generated for choice in self.choices),
            cached_tokens=first.cached_tokens if told is None else told,
            created_tokens=first.created_tokens,
        )
