"""What can go wrong between a command and a server."""

from __future__ import annotations


class ServerError(Exception):
    """The server cannot be asked, or says what makes no sense; the message says which one and why."""
