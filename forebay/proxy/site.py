"""What a proxy answers at the paths that it has of those it stands in for: /healthcheck and /instances."""

from __future__ import annotations

from http import HTTPStatus

import msgspec

from agent.errors import TargetError
from agent.targets import Target
from forebay.proxy.instances import Instances
from forebay.proxy.modes import Mode
from forebay.proxy.ranks import instance_at
from gateway.site import SiteAnswer, SiteRequest
from scheduler.admin import requests_in
from scheduler.errors import StoreRejectedError, StoreUnavailableError
from scheduler.messages import Role
from scheduler.store import Store

MOST_AT_ONCE = 1024


class InstanceChange(msgspec.Struct, frozen=True):
    """The body of a request about instances: `{"type": "prefill", "instances": ["h:p", ...]}`, or one "h:p"."""

    type: str
    instances: str | list[str]


class ProxySite:
    """Answers for one proxy."""

    def __init__(self, mode: Mode, instances: Instances, store: Store, pool: str) -> None:
        self._mode, self._instances, self._store, self._pool = mode, instances, store, pool
        self._requests = 0

    async def answer(self, request: SiteRequest) -> SiteAnswer:
        """Answer a request of routes.SITE_PATHS."""
        if request.path == "/healthcheck":
            return _json(HTTPStatus.OK, await self._health())
        try:
            change = msgspec.json.decode(request.body, type=InstanceChange)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            return _refused(f"The body is not {{'type': ..., 'instances': ...}}: {error}")
        return self._change(change, adding=request.path == "/instances/add")

    async def _health(self) -> dict[str, object]:
        """As each of them writes it."""
        counts = [len(self._instances.current(role)) for role in self._instances.roles]
        match self._mode:
            case Mode.DP:
                return {"status": "ok", "dp_instances": counts[0]}
            case Mode.BUCKET:
                return {"status": "ok", "server_instances": counts[0]}
            case Mode.PD:
                return {**_of_both(counts), "request_num": await self._requests_under_way()}
            case Mode.LAYERWISE:
                return _of_both(counts)

    async def _requests_under_way(self) -> int:
        """By the ledger, of all proxies that share it; while it cannot be asked, what it last said."""
        try:
            self._requests = await requests_in(self._store, self._pool)
        except (StoreUnavailableError, StoreRejectedError):
            return self._requests
        return self._requests

    def _change(self, change: InstanceChange, *, adding: bool) -> SiteAnswer:
        roles = self._instances.roles
        if change.type not in roles:
            allowed = " and ".join(f"'{role}'" for role in roles)
            return _refused(f"Instance type {change.type[:40]!r} is not supported. Only {allowed} are allowed.")
        role = Role(change.type)
        named = [change.instances] if isinstance(change.instances, str) else change.instances
        if len(named) > MOST_AT_ONCE:
            return _refused(f"More than {MOST_AT_ONCE} instances at once.")
        try:
            found = [self._instances.known(target) for text in named for target in instance_at(text)]
        except TargetError as error:
            return _refused(str(error))
        ranks: dict[tuple[str, int], Target] = {}
        for other, target in found:
            if other not in (role, None):
                return _refused(f"{target.name} is a {other} instance.")
            ranks.setdefault(target.listener, target)
        message = self._changed(role, list(ranks.values()), adding=adding)
        return _json(HTTPStatus.OK, {"message": message, **self._current()})

    def _changed(self, role: Role, targets: list[Target], *, adding: bool) -> str:
        if adding:
            waiting = self._instances.add(role, targets)
            return f"Instances {waiting} are waiting to be added." if waiting else _done("add", role, targets)
        leaving = self._instances.remove(role, targets)
        isolated = f"Instances {leaving} are isolated and waiting to be removed."
        return isolated if leaving else _done("remove", role, targets)

    def _current(self) -> dict[str, list[str]]:
        if self._instances.roles == (Role.MIXED,):
            return {"current_instances": self._instances.current(Role.MIXED)}
        return {f"current_{role}_instances": self._instances.current(role) for role in self._instances.roles}


def _of_both(counts: list[int]) -> dict[str, object]:
    prefill, decode = counts
    return {"status": "ok", "prefill_instances": prefill, "decode_instances": decode}


def _done(what: str, role: Role, targets: list[Target]) -> str:
    return f"{what} {role} instances: {[target.name for target in targets]}."


def _refused(why: str) -> SiteAnswer:
    return _json(HTTPStatus.BAD_REQUEST, {"error": why})


def _json(status: int, body: dict[str, object]) -> SiteAnswer:
    return SiteAnswer(status, msgspec.json.encode(body))
