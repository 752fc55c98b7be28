"""What an error reply of Redis means, as Redis 5 to 8 and Valkey word them."""

from __future__ import annotations

import pytest

from scheduler.error_replies import Meaning, meaning_of, shown

REPLIES = {
    "LOADING Redis is loading the dataset in memory": Meaning.PASSING,
    "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.": Meaning.PASSING,
    "TRYAGAIN Multiple keys request during rehashing of slot": Meaning.PASSING,
    "CLUSTERDOWN Hash slot not served": Meaning.PASSING,
    "NOREPLICAS Not enough good replicas to write.": Meaning.PASSING,
    "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist": Meaning.PASSING,
    "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.": Meaning.PASSING,
    "OOM command not allowed when used memory > 'maxmemory'.": Meaning.FULL,
    "READONLY You can't write against a read only replica.": Meaning.DEMOTED,
    "WRONGTYPE Operation against a key holding the wrong kind of value": Meaning.WRONG_TYPE,
    "NOAUTH Authentication required.": Meaning.DENIED,
    "WRONGPASS invalid username-password pair or user is disabled.": Meaning.DENIED,
    "NOPERM this user has no permissions to run the 'eval' command": Meaning.DENIED,
    "NOPERM ACL failure in script: User agent has no permissions to run the 'hset' command": Meaning.DENIED,
    "ERR The user executing the script can't run this command or subcommand": Meaning.DENIED,
    "The user executing the script can't access at least one of the keys": Meaning.DENIED,
    "CROSSSLOT Keys in request don't hash to the same slot": Meaning.REFUSED,
    "ERR unknown command 'EVALSHA'": Meaning.REFUSED,
    "": Meaning.REFUSED,
}


@pytest.mark.parametrize(("reply", "meaning"), REPLIES.items())
def test_a_reply_means(reply: str, meaning: Meaning) -> None:
    assert meaning_of(reply) is meaning


@pytest.mark.parametrize(
    ("told", "meaning"),
    [
        pytest.param("-READONLY You can't write against a read only replica. ", Meaning.DEMOTED, id="demoted"),
        pytest.param("-OOM command not allowed when used memory > 'maxmemory'. ", Meaning.FULL, id="full"),
        pytest.param("WRONGTYPE Operation against a key holding the wrong kind", Meaning.WRONG_TYPE, id="wrong type"),
        pytest.param("-NOPERM this user has no permissions to run the 'hset' command ", Meaning.DENIED, id="denied"),
        pytest.param("attempt to index a nil value", Meaning.REFUSED, id="a mistake"),
    ],
)
def test_redis_6_says_it_inside_a_script_s_error(told: str, meaning: Meaning) -> None:
    head = "ERR Error running script (call to f_c664a3bf70bd1d45c4284ffebb65a6f2299bfc9f): @user_script:37: "
    assert meaning_of(f"{head}@user_script: 37: {told}") is meaning
    assert meaning_of(f"{head}{told}") is meaning


NO_COMMAND = "unknown command 'HELLO'"
CANNOT = "can't run this command or subcommand"
NO_RIGHT = "ACL failure in script: User agent has no permissions to run the 'hset' command"
WHERE = " script: 6f068d04b3364796b478eb15c7bcf189ac0e8fb8, on @user_script:7."


@pytest.mark.parametrize(
    ("reply", "text"),
    [
        (f"{NO_COMMAND}, with args beginning with: '3' 'AUTH' 'u' 's3cret' ", NO_COMMAND),
        (f"The user executing the script {CANNOT}{WHERE}", f"this user {CANNOT}"),
        (NO_RIGHT + WHERE, NO_RIGHT),
        ("Error compiling script (new function)", "Error compiling script (new function)"),
    ],
)
def test_people_are_told_what_helps_them(reply: str, text: str) -> None:
    assert shown(reply) == text
