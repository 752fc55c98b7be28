"""From a command line of vllm-ascend's proxies to one of ours. Pure.

Theirs is argparse's: `--dp-hosts a b c` gives one flag several values, and a flag may be shortened. Ours is click's, as
of all our commands, with a variable for every option: `--dp-hosts=a --dp-hosts=b --dp-hosts=c`. The script's name, in
any folder, says which proxy is meant.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from forebay.proxy.modes import EPD_FLAGS, EPD_SCRIPTS, SCRIPTS

MANY = frozenset(
    {
        *("--dp-hosts", "--dp-ports", "--server-hosts", "--server-ports"),
        *("--prefiller-hosts", "--prefiller-hosts-num", "--prefiller-ports", "--prefiller-ports-inc"),
        *("--decoder-hosts", "--decoder-hosts-num", "--decoder-ports", "--decoder-ports-inc"),
    }
)
"""The flags that take several values."""
SHORT: Mapping[str, str] = MappingProxyType({flag[:-1]: flag for flag in MANY if flag.endswith("s")})
"""As some of vllm-ascend's pages shorten them: --prefiller-port for --prefiller-ports."""


class WordsError(ValueError):
    """The command line is none of a proxy that is stood in for."""


def translated(words: Sequence[str]) -> list[str]:
    """The words for our own options. Raises WordsError.

    Words of blanks are left out: a backslash before a blank, instead of at its line's end, makes one. An empty word is
    a value, of a variable that is not set perhaps, and is refused as such.
    """
    said = [word for word in words if word.strip() or not word]
    # Options of ours may stand before it.
    at = next((i for i, word in enumerate(said) if _name_of(word) in SCRIPTS.keys() | EPD_SCRIPTS), 0)
    if said and said[at].endswith(".py"):
        return [f"--mode={_mode_of(said[at])}", *_spread([*said[:at], *said[at + 1 :]])]
    return _spread(said)


def _name_of(path: str) -> str:
    return path.rpartition("/")[2]


def _mode_of(script: str) -> str:
    name = _name_of(script)
    if name in EPD_SCRIPTS:
        raise _no_encoders(name)
    if name not in SCRIPTS:
        raise WordsError(f"{name} is no script that can be stood in for; these can: {', '.join(SCRIPTS)}")
    return SCRIPTS[name]


def _no_encoders(what: str) -> WordsError:
    return WordsError(f"{what}: ranks that only encode (EPD) are not served; run the encoder within the prefill ranks")


def _spread(words: Sequence[str]) -> list[str]:
    spread: list[str] = []
    given: set[str] = set()
    rest = iter(words)
    word = next(rest, None)
    while word is not None:
        flag, equals, value = word.partition("=")
        flag = SHORT.get(flag, flag)
        if flag in EPD_FLAGS:
            raise _no_encoders(flag)
        following = next(rest, None)
        if flag in MANY:
            if flag in given:
                raise WordsError(f"Option '{flag}' is given twice; it takes several values: {flag} A B")
            given.add(flag)
            values = [value] if equals else []
            while following is not None and not equals and not following.startswith("--"):
                values.append(following)
                following = next(rest, None)
            if not values:
                raise WordsError(f"Option '{flag}' requires an argument.")
            spread += [f"{flag}={each.strip()}" for each in values]
        else:
            spread.append(word)
        word = following
    return spread
