"""`forebay redis-users`: an ACL file for Redis."""

from __future__ import annotations

import hashlib

import click

from forebay.options import settings_options
from forebay.settings import RedisUsersSettings
from scheduler.rights import ANY_POOL, ProcessRole, users


@click.command("redis-users")
@settings_options(RedisUsersSettings)
def command(settings: RedisUsersSettings) -> None:
    """Print an ACL file for Redis (`aclfile`): users gateway, agent and operator, each with its own rights alone.

    Of the passwords it has SHA-256 digests, so choose long random ones (openssl rand -hex 32); where one is not given,
    a word stands in its place that Redis refuses to load. Give them as environment variables: options can be seen by
    all users of a machine.
    """
    passwords = {
        ProcessRole.GATEWAY: settings.gateway_password,
        ProcessRole.AGENT: settings.agent_password,
        ProcessRole.OPERATOR: settings.operator_password,
    }
    digests = {
        role: _digest(password) if password else f"{role.upper()}_SHA256" for role, password in passwords.items()
    }
    click.echo(users(digests, settings.pool or (ANY_POOL,), selectors=settings.redis_version == "7"), nl=False)


def _digest(password: str) -> str:
    return hashlib.sha256(password.encode()).hexdigest()
