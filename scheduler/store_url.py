"""A store's URL: what it says, and how it may be shown. Pure.

Passwords stand in these URLs, often unescaped. So a URL is read only where it is certain which part is which, no
complaint repeats any of it, and only `shown_url` makes text of one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl, unquote

import msgspec

from scheduler.errors import StoreUrlError

LOGIN = "[user:password@]"
FORMS = {
    "redis": f"redis://{LOGIN}host[:port][/db]",
    "rediss": f"rediss://{LOGIN}host[:port][/db]",
    "unix": f"unix://{LOGIN}/path[?db=N]",
    "redis+sentinel": f"redis+sentinel://{LOGIN}host[:port][,host[:port]...]/service[/db]",
    "rediss+sentinel": f"rediss+sentinel://{LOGIN}host[:port][,host[:port]...]/service[/db]",
    "redis+cluster": f"redis+cluster://{LOGIN}host[:port]",
    "rediss+cluster": f"rediss+cluster://{LOGIN}host[:port]",
}
"""What a URL of each scheme looks like; each may end in `?option=value&...`."""

REDIS_PORT = 6379
SENTINEL_PORT = 26379
HIDDEN = "***"

_HOST = r"(?:[\w-]{1,63}(?:\.[\w-]{1,63})*\.?|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?"
_REST = re.compile(
    rf"(?:(?P<login>[^/?#@]*)@)?(?P<hosts>{_HOST}(?:,{_HOST})*)?(?P<path>/[\w./%~+-]*)?(?:\?(?P<query>[^#@]*))?",
    re.ASCII,
)
"""All after `://`. What might be the rest of a password (another @, a #, a word for a port) does not match."""


class StoreUrl(msgspec.Struct, frozen=True, kw_only=True):
    """A store's URL, read. `options` are keyword arguments of the Redis client, login and database among them."""

    scheme: str
    hosts: tuple[tuple[str, int], ...]
    socket_path: str
    service: str
    options: dict[str, Any]

    @property
    def is_tls(self) -> bool:
        """Whether the connection is encrypted."""
        return self.scheme.startswith("rediss")


def shown_url(url: str) -> str:
    """The URL as people may see it: without user, password and option values, whatever it is."""
    scheme, separator, rest = url.partition("://")
    if not separator or scheme not in FORMS:
        return HIDDEN
    match = _REST.fullmatch(rest)
    if not match:
        return f"{scheme}://{HIDDEN}"
    login = f"{HIDDEN}@" if match["login"] else ""
    query = f"?{HIDDEN}" if match["query"] else ""
    return f"{scheme}://{login}{match['hosts'] or ''}{match['path'] or ''}{query}"


def parse_store_url(url: str) -> StoreUrl:
    """Reads a URL of one of the FORMS. Raises StoreUrlError, which says what is wrong and nothing of the URL."""
    scheme, separator, rest = url.partition("://")
    if not separator:
        raise StoreUrlError("store URL: it has no scheme, as in redis://host:6379")
    if scheme not in FORMS:
        raise StoreUrlError(f"store URL: unknown scheme, expected one of {', '.join(FORMS)}")
    match = _REST.fullmatch(rest)
    if not match:
        raise _unlike_its_form(scheme)
    path = unquote(match["path"] or "")
    options = _query(scheme, match["query"] or "") | _login(match["login"] or "")
    if scheme == "unix":
        if match["hosts"] or not path:
            raise _unlike_its_form(scheme)
        return StoreUrl(scheme=scheme, hosts=(), socket_path=path, service="", options=options)
    service, path = _service(path) if scheme.endswith("sentinel") else ("", path)
    if path.strip("/"):
        options["db"] = _database(scheme, path.strip("/"))
    hosts = _hosts(scheme, match["hosts"] or "")
    return StoreUrl(scheme=scheme, hosts=hosts, socket_path="", service=service, options=options)


def _unlike_its_form(scheme: str) -> StoreUrlError:
    escapes = "in a user name or password, / ? # @ are written %2F %3F %23 %40"
    return StoreUrlError(f"store URL: expected {FORMS[scheme]} ({escapes})")


def _login(text: str) -> dict[str, str]:
    user, _, password = text.partition(":")
    found = {"username": unquote(user), "password": unquote(password)}
    try:
        "".join(found.values()).encode()
    except UnicodeEncodeError:
        raise StoreUrlError("store URL: the user name or password is not UTF-8") from None
    return {name: value for name, value in found.items() if value}


def _hosts(scheme: str, text: str) -> tuple[tuple[str, int], ...]:
    if not text:
        raise StoreUrlError(f"store URL: no host, expected {FORMS[scheme]}")
    default_port = SENTINEL_PORT if scheme.endswith("sentinel") else REDIS_PORT
    hosts = []
    for address in text.split(","):
        host, port = re.fullmatch(r"(.+?)(?::([0-9]+))?", address).groups()  # type: ignore[union-attr]
        if port is not None and not 1 <= int(port) <= 65535:
            raise StoreUrlError("store URL: a port is between 1 and 65535")
        hosts.append((host.strip("[]"), int(port or default_port)))
    if len(hosts) > 1 and not scheme.endswith("sentinel"):
        raise StoreUrlError(f"store URL: one host, expected {FORMS[scheme]}")
    return tuple(hosts)


def _service(path: str) -> tuple[str, str]:
    service, _, database = path.removeprefix("/").partition("/")
    if not service:
        raise StoreUrlError("store URL: a sentinel's URL needs /service after the hosts")
    return service, database


def _database(scheme: str, text: str) -> int:
    if scheme.endswith("cluster"):
        raise StoreUrlError("store URL: a cluster has no databases, so nothing may follow the host")
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise StoreUrlError("store URL: the database (db) is a number")
    return int(text)


def _query(scheme: str, text: str) -> dict[str, Any]:
    readers: dict[str, Callable[[str], Any]] = {"username": str, "password": str, "client_name": str}
    readers |= {} if scheme.endswith("cluster") else {"db": lambda value: _database(scheme, value)}
    readers |= _TLS_OPTIONS if scheme.startswith("rediss") else {}
    options = {}
    for name, value in parse_qsl(text, keep_blank_values=True):
        if name not in readers:
            raise StoreUrlError(f"store URL: an unknown option after the question mark; known: {', '.join(readers)}")
        options[name] = readers[name](value)
    return options


def _one_of(name: str, values: Mapping[str, Any]) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        if text.lower() not in values:
            raise StoreUrlError(f"store URL: {name} is one of {', '.join(values)}")
        return values[text.lower()]

    return read


_TLS_OPTIONS: Mapping[str, Callable[[str], Any]] = {
    **dict.fromkeys(("ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_password"), str),
    "ssl_cert_reqs": _one_of("ssl_cert_reqs", {each: each for each in ("required", "optional", "none")}),
    "ssl_check_hostname": _one_of("ssl_check_hostname", {"true": True, "false": False, "yes": True, "no": False}),
}
