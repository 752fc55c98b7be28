"""The responses a rank keeps in its memory, as vLLM does with VLLM_ENABLE_RESPONSES_API_STORE."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, Final

from simulator.apis.background import Background
from simulator.apis.response_input import Messages
from simulator.apis.responses import not_found

_MOST: Final = 10_000
"""vLLM keeps them all; a rank that has to outlive a load test forgets the oldest."""

Response = dict[str, Any]


class KeptResponses:
    """Responses by their ids, the conversations that led to them, and what still runs in the background."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, tuple[Response, Sequence[dict[str, Any]]]] = OrderedDict()
        self._running: dict[str, Background] = {}

    def keep(self, response: Response, messages: Sequence[dict[str, Any]]) -> None:
        """Keep a response, in place of what was known of it before, unless it was cancelled."""
        name = response["id"]
        known = self._kept.get(name)
        if known is not None and known[0]["status"] == "cancelled":
            return
        self._kept[name] = (response, messages)
        if len(self._kept) > _MOST:
            gone, _ = self._kept.popitem(last=False)
            self._running.pop(gone, None)

    def run(self, response_id: str, background: Background) -> None:
        """A response is made without anybody waiting for it."""
        self._running[response_id] = background

    def background_of(self, response_id: str) -> Background | None:
        """Where the events of a response are that is, or was, made in the background."""
        return self._running.get(response_id)

    def get(self, response_id: str) -> Response:
        """The response as it is; raises ApiError where there is none."""
        if (known := self._kept.get(response_id)) is None:
            raise not_found(response_id)
        return known[0]

    def said(self, response_id: str) -> tuple[Messages, list[str]] | None:
        """The conversation that led to a response, and its texts; None where it is not kept."""
        if (known := self._kept.get(response_id)) is None:
            return None
        response, messages = known
        return messages, [part["text"] for item in response["output"] for part in item["content"]]

    def cancel(self, response_id: str) -> Response:
        """End a response that is still being made; raises ApiError where there is none."""
        response = self.get(response_id)
        self._kept[response_id] = ({**response, "status": "cancelled"}, self._kept[response_id][1])
        if (background := self._running.pop(response_id, None)) is not None:
            background.end()
        return self.get(response_id)
