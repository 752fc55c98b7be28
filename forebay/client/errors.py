"""What can go wrong for a caller of the client."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from forebay.client.outputs import RequestOutput


class ClientError(Exception):
    """The server cannot be asked as one wishes; the message says why."""


class RequestsFailedError(ClientError):
    """Some prompts have no answer: `failures` says why, by the prompt's place; `outputs` has the others' answers."""

    def __init__(self, failures: Mapping[int, str], outputs: Sequence[RequestOutput | None]) -> None:
        place, why = next(iter(failures.items()))
        super().__init__(f"{len(failures)} of {len(outputs)} prompts failed, the first at place {place}: {why}")
        self.failures = failures
        self.outputs = outputs
