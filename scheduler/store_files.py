"""The files that a store's URL names, looked at before they are used: the library says only that it cannot connect."""

from __future__ import annotations

from pathlib import Path

from scheduler.errors import StoreUrlError
from scheduler.store_url import StoreUrl

OPTIONS = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")


def with_files(url: StoreUrl) -> StoreUrl:
    """The URL, all of whose files can be read. Raises StoreUrlError naming the option whose file cannot."""
    for option in OPTIONS:
        if option in url.options:
            try:
                with Path(url.options[option]).open("rb"):
                    pass
            except OSError as error:
                raise StoreUrlError(f"store URL: {option}: {error.strerror}") from error
    return url
