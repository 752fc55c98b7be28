"""Reads a multipart/form-data body (RFC 7578). Pure."""

from __future__ import annotations

import re
from email.message import Message
from typing import Final

_NAME: Final = re.compile(rb'content-disposition:[^\r\n]*;\s*name="?([^"\r\n;]*)"?', re.IGNORECASE)


def fields_of(body: bytes, content_type: str | None) -> dict[str, bytes]:
    """The fields by their names, of several the last; none where the body is no form."""
    head = Message()
    head["content-type"] = content_type or ""
    boundary = head.get_param("boundary")
    if head.get_content_type() != "multipart/form-data" or not isinstance(boundary, str):
        return {}
    found: dict[str, bytes] = {}
    for part in (b"\r\n" + body).split(b"\r\n--" + boundary.encode(errors="replace"))[1:-1]:
        fields, _, value = part.partition(b"\r\n\r\n")
        if name := _NAME.search(fields):
            found[name[1].decode(errors="replace")] = value
    return found
