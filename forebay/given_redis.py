"""The Redis whose URL the user gave to `forebay up`: whether it answers."""

from __future__ import annotations

import anyio

from forebay.supervise import CannotStartError
from scheduler.errors import StoreRejectedError, StoreUnavailableError
from scheduler.store import open_store
from scheduler.store_url import shown_url

PATIENCE_S = 5.0
RETRY_S = 0.1


async def given_redis_answers(url: str, given_by: str) -> None:
    """Return once it answers; `given_by` is the option or variable that the URL stands in.

    Raises CannotStartError: at once where Redis refuses us, else after PATIENCE_S.
    """
    redis = f"Redis at {shown_url(url)} ({given_by})"
    async with open_store(url) as store:
        with anyio.move_on_after(PATIENCE_S):
            while True:
                try:
                    await store.command("PING")
                except StoreUnavailableError:
                    await anyio.sleep(RETRY_S)
                except StoreRejectedError as error:
                    raise CannotStartError(f"{redis}: {error}") from error
                else:
                    return
    raise CannotStartError(f"{redis} does not answer; without {given_by} one is started")
