"""Reads server-sent events as OpenAI's APIs write them."""

import json
from typing import Any


def event_of(text: str) -> Any:
    """The JSON of one event, with or without its end."""
    return json.loads(text.removeprefix("data: "))


def documents_of(text: str) -> list[Any]:
    """The JSON of each event of a whole stream, named or not, without the final [DONE] if there is one."""
    data = [line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data: ")]
    return [json.loads(each) for each in data if each != "[DONE]"]


def events_of(text: str) -> list[Any]:
    """The JSON of each event of a whole stream, without the final [DONE]."""
    *events, done = [event for event in text.split("\n\n") if event]
    assert done == "data: [DONE]"
    return [event_of(event) for event in events]
