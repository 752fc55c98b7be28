"""What an error that Redis answers means for us: ask again later, ask another server, or asking is in vain. Pure."""

from __future__ import annotations

import re
from enum import StrEnum

_INSIDE_A_SCRIPT = re.compile(r"ERR Error running script .*?@user_script: ?\d+: -?([A-Z]+) ", re.DOTALL)
"""How Redis before 7 words an error of a command in a script."""

_OF_A_SCRIPT = re.compile(r"(?:ERR )?The user executing the script can't (.*)", re.DOTALL)
"""How Redis 7.0 words a missing permission inside of a script; other releases answer NOPERM."""

_WHERE = re.compile(r", with args beginning with.*| script: [0-9a-f]{40}, on @user_script:\d+\.?\Z", re.DOTALL)
"""What a server adds that helps nobody: the digest of a script of ours, or the arguments of a command that it does not
know, such as HELLO's, of which one is the password."""

_PASSING = frozenset(
    {
        "LOADING",  # it reads its file after a start
        "MASTERDOWN",  # a replica that has lost its master
        "TRYAGAIN",  # keys are on their way to another node of the cluster
        "CLUSTERDOWN",  # some slots have no node now
        "NOREPLICAS",  # fewer replicas than a write must reach
        "MISCONF",  # its last save failed; the next may not
        "BUSY",  # a script of somebody's runs long
    }
)


class Meaning(StrEnum):
    """What to make of an error reply."""

    PASSING = "passing"
    """The server cannot serve now; asked later it may."""
    FULL = "full"
    """It has no memory left; somebody may free some."""
    DEMOTED = "demoted"
    """It is a replica, and the master is where a new connection leads."""
    WRONG_TYPE = "wrong type"
    """A key is not of the type that a command needs."""
    DENIED = "denied"
    """Asking again will not cure it: no login, or no permission."""
    REFUSED = "refused"
    """Nor this: a mistake."""


_BY_CODE = {
    "OOM": Meaning.FULL,
    "READONLY": Meaning.DEMOTED,
    "WRONGTYPE": Meaning.WRONG_TYPE,
    "NOAUTH": Meaning.DENIED,
    "WRONGPASS": Meaning.DENIED,
    "NOPERM": Meaning.DENIED,
}


def meaning_of(reply: str) -> Meaning:
    """The meaning of an error reply, which begins with its code, as in `OOM command not allowed ...`."""
    if _OF_A_SCRIPT.match(reply):
        return Meaning.DENIED
    inside = _INSIDE_A_SCRIPT.match(reply)
    code = inside[1] if inside else reply.partition(" ")[0]
    if code in _PASSING:
        return Meaning.PASSING
    return _BY_CODE.get(code, Meaning.REFUSED)


def shown(reply: str) -> str:
    """What people are told of an error reply."""
    text = _WHERE.sub("", reply)
    lacks = _OF_A_SCRIPT.match(text)
    return f"this user can't {lacks[1]}" if lacks else text
