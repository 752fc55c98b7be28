"""One answer in the making: collects its choices' tokens and writes them to the client."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from simulator.answer_body import AnswerBody
from simulator.api_errors import ApiError, as_event
from simulator.choice import Choice
from simulator.exchange import Exchange
from simulator.generation import Generation

_DONE = b"data: [DONE]\n\n"


class Answer:
    """Answers one completion or chat request.

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

    def flush(self, choice: Choice) -> None:
        """Write what the choice has; a client that reads slowly gets it later, in one event."""
        if self._exchange.closed:
            return
        self._unfinished -= choice.finish_reason is not None
        if self._generation.stream:
            if self._exchange.writable:
                self._send(choice)
        elif not self._unfinished:
            self._respond(self._exchange, self._body.whole(self.choices, self._total_usage()))
            self._on_end(False)

    def fail(self, error: ApiError) -> None:
        """End the answer with an error, in the stream if there is one."""
        if self._exchange.closed:
            return
        if self._generation.stream:
            frame = self._exchange.frame
            begun = (b"" if each.begun else self._body.first(each, self._usage_of(each, 0)) for each in self.choices)
            framed = b"".join(frame(data) for data in begun if data)
            self._exchange.end_stream(framed + frame(as_event(error)) + frame(_DONE))
        else:
            self._exchange.respond(error.status, error.body)
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
        frame = self._exchange.frame
        framed = b""
        if not choice.begun and (first := self._body.first(choice, self._usage_of(choice, 0))):
            choice.begun = True
            framed = frame(first)
        finished = choice.finish_reason is not None
        text = choice.text.take(finished=finished)
        if choice.generated:  # none, where it was aborted before
            framed += frame(self._body.delta(choice, text, choice.ids, self._usage_of(choice, choice.generated)))
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
        frame = self._exchange.frame
        if self._generation.include_usage:
            usage = _without_nulls(self._total_usage())
            framed += frame(self._body.last(b',"usage":' + msgspec.json.encode(usage)))
        self._exchange.end_stream(framed + frame(_DONE))
        self._on_end(False)

    def _abandon(self) -> None:
        self._on_end(True)

    def _usage_of(self, choice: Choice, generated: int) -> bytes:
        return _member(len(choice.prompt.ids), generated) if self._generation.continuous_usage else b""

    def _total_usage(self) -> dict[str, Any]:
        prompt = sum(len(prompt.ids) for prompt in self._generation.prompts)
        generated = sum(choice.generated for choice in self.choices)
        return {
            "prompt_tokens": prompt,
            "total_tokens": prompt + generated,
            "completion_tokens": generated,
            "prompt_tokens_details": self._cached() if self._generation.shows_cached else None,
            "completion_tokens_details": None,
        }

    def _cached(self) -> dict[str, int | None]:
        """What a prefill rank had cached counts, not what came from it, where it said so."""
        asked, first = self._generation, self.choices[0]
        remote = asked.pull or asked.spare
        told = None if remote is None else remote.cached_tokens
        return {
            "cached_tokens": first.cached_tokens if told is None else told,
            "created_cache_tokens": first.created_tokens if asked.api == "chat" else None,
            "multimodal_tokens": None,
        }


def _without_nulls(usage: dict[str, Any]) -> dict[str, Any]:
    shown = {name: _without_nulls(value) if isinstance(value, dict) else value for name, value in usage.items()}
    return {name: value for name, value in shown.items() if value is not None}


def _member(prompt: int, generated: int) -> bytes:
    return b',"usage":{"prompt_tokens":%d,"total_tokens":%d,"completion_tokens":%d}' % (
        prompt,
        prompt + generated,
        generated,
    )
