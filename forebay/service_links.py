"""Variables that Kubernetes puts into every pod of a namespace for its services: a service `forebay` brings
FOREBAY_PORT=tcp://10.0.0.1:8000 and others that are none of ours.

Their names and values: https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables
"""

from __future__ import annotations

import re
from collections.abc import MutableMapping

_HOST = r"(?:[\w.-]+|\[[0-9A-Fa-f:.]+\])"
_ADDRESS = r"[\w.:-]+"
_PROTOCOL = r"(?:tcp|udp|sctp)"
_URL = rf"{_PROTOCOL}://{_HOST}:\d+"
_SHAPES = tuple(
    (re.compile(name), re.compile(value, re.IGNORECASE))
    for name, value in (
        (r"\w+_SERVICE_HOST", _ADDRESS),
        (r"\w+_SERVICE_PORT(?:_\w+)?", r"\d+"),
        (r"\w+_PORT", _URL),
        (r"\w+_PORT_\d+_(?:TCP|UDP|SCTP)", _URL),
        (r"\w+_PORT_\d+_(?:TCP|UDP|SCTP)_PROTO", _PROTOCOL),
        (r"\w+_PORT_\d+_(?:TCP|UDP|SCTP)_PORT", r"\d+"),
        (r"\w+_PORT_\d+_(?:TCP|UDP|SCTP)_ADDR", _ADDRESS),
    )
)


def is_service_link(name: str, value: str) -> bool:
    """Whether a variable has the name and the value of a service's; for one of our own names the value decides."""
    return any(names.fullmatch(name) and values.fullmatch(value) for names, values in _SHAPES)


def drop_service_links(environment: MutableMapping[str, str], prefix: str) -> list[str]:
    """Take the services' variables whose names begin with `prefix` out of `environment`; returns their names."""
    links = sorted(
        name for name, value in environment.items() if name.startswith(prefix) and is_service_link(name, value)
    )
    for name in links:
        del environment[name]
    return links
