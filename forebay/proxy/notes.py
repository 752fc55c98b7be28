"""What is said of options that are accepted and do nothing here, one line each. Pure."""

from __future__ import annotations

from forebay.proxy.modes import Mode
from forebay.proxy.settings import ProxySettings

RETRIES = "a request that fails before its first token is placed anew on other ranks, three times in all"
BUCKETS = "no buckets by length: each request goes to the rank where it costs least, a long prompt's time counted"
WAITING = "a rank that is added is waited for until it answers or is removed"


def notes_on(settings: ProxySettings) -> list[str]:
    """The lines for what was given."""
    plain = ProxySettings(mode="dp")

    def given(*fields: str) -> str:
        return ", ".join(_flag(field) for field in fields if getattr(settings, field) != getattr(plain, field))

    notes = [
        (given("max_retries", "retry_delay"), RETRIES),
        (given("enable_dynamic_bucket", "server_group_threshold", "max_request_tokens"), BUCKETS),
        (given("max_waiting_retries", "waiting_retry_interval"), WAITING),
    ]
    if settings.serves_as is Mode.BUCKET and not notes[1][0]:
        notes[1] = ("hybrid_proxy_server.py", BUCKETS)
    return [f"{what}: not needed here; {instead}" for what, instead in notes if what]


def _flag(field: str) -> str:
    return "--" + field.replace("_", "-")
