"""The simulated language model: the next token is a hash of all token ids before it. Pure.

The state after ids x1..xn is one number, the polynomial rolling hash

    s0 = START,   s_i = (s_(i-1) * 2**64 + x_i) mod P

so it depends on every id and its place, and on nothing else: not on what was prompt and what was generated, not on
batching, preemption or speed. Whoever continues from prompt + generated ids gets the same continuation; whoever
drops, repeats, swaps or alters an id gets another one.

The next token is drawn from the state mixed with `salt` (the index of the choice among a request's `n`):

- after the first bytes of a split character comes one of its possible rests, so multi-byte characters span tokens;
- else with probability 1/mean_output_tokens the end-of-sequence token (unless it is not allowed). The length of an
  answer is therefore geometric with that mean, and stays the same when the answer is continued elsewhere;
- else one of `PIECES`, all equally likely.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final

from simulator.tokens import END, piece_id

START: Final = 0x243F6A8885A308D3 >> 2
"""Pi's first bits: not zero, so leading zero ids count."""
MODULUS: Final = 0x4F1BBCDCBFA53E3B
"""The first prime after half of 2**64 / golden ratio; 2**64 is of no special form modulo it."""

_WORDS: Final = (
    " the| of| to| and| a| in| is| it| for| on| as| be| we| by| or| an| no| so| up| if| at| he| do| me| my| go| us"
    "|ing|ed|er|ion|es|ly|al|ness|ment|ous|ive|est|ful|less|abl|s|e|t|n|r|d|l|y|m|p|c|b|g|h|w|k|u|o|i|a"
    "| run| sea| sun| dam|lake|rain|well|tide|flow|pipe|gate|mill|cold|deep|wide|long|high| low| new"
    "| old| red|blue| two| six| ten| one| all| any| few| can| may|will|must| was| has| had| are| not| but| our"
    "|tion|ther|here|over|ent|ant|ity|ure|age|ard|ate|ite|ize|ise|ish|ist|ism|ary|ory|ery|ble|ple|tle|con|pre|pro"
    "|sub|dis|mis|non|per|par|com|int|ext|un|re|de|en|ex|st|th|ch|sh|wh|ph|qu|tr|br|gr|pl|cl|fl|sp|sc|sk|sw"
    '|. |, |; |: |! |? |\n|\n\n|- | (|) | "|" |\'s|=|+|/|0|1|2|3|4|5|6|7|8|9|10|42|2026'
    "|\u00e9|\u00fc| \u00e0|\u00f1o|\u6c34|\u529b|\u2192|\u20ac|\U0001f30a|\u03c0"
)
_SPLIT: Final = {
    b"\xc3": (b"\xa9", b"\xb6 ", b"\xa7on"),
    b" \xe6\xb0": (b"\xb4", b"\x97 ", b"\x91"),
    b"\xe2": (b"\x86\x92", b"\x82\xac1", b"\x88\x9e"),
    b"\xf0\x9f": (b"\x8c\x8a", b"\x9a\xb0", b"\x92\xa7"),
    b"a\xf0": (b"\x9f\x8c", b"\x9f\x92"),
    b"\x9f\x8c": (b"\x8a", b"\x8d."),
    b"\x9f\x92": (b"\xa7", b"\xa1 "),
}  # the first bytes of split characters, and what may follow them

_RESTS: Final = {piece_id(head): tuple(map(piece_id, rests)) for head, rests in _SPLIT.items()}
PIECES: Final = tuple(piece_id(word.encode()) for word in _WORDS.split("|")) + tuple(
    piece_id(head) for head in _SPLIT if head[0] != 0x9F
)
"""The ids an answer is made of, besides the rests of split characters and the end."""

_MASK: Final = 2**64 - 1


def extend(state: int, token_id: int) -> int:
    """The state after one more id."""
    return ((state << 64) | token_id) % MODULUS


def prompt_states(ids: Sequence[int], block_size_tokens: int) -> tuple[list[int], int]:
    """The state after each full block of the prompt (the blocks' prefix-cache keys), and after all of it."""
    data = struct.pack(f">{len(ids)}Q", *ids)
    width = 8 * block_size_tokens
    state, states = START, []
    for at in range(0, len(data), width):
        block = data[at : at + width]
        state = ((state << (8 * len(block))) | int.from_bytes(block, "big")) % MODULUS
        if len(block) == width:
            states.append(state)
    return states, state


def end_threshold(mean_output_tokens: int) -> int:
    """Of 2**32 draws, so many end the answer."""
    return 2**32 // mean_output_tokens


def next_token(state: int, last_token: int, salt: int, end_below: int) -> int:
    """The id that follows; `end_below` is `end_threshold(mean)`, or 0 where the model may not end."""
    drawn = ((state ^ (state >> 29)) * 0xBF58476D1CE4E5B9 + salt * 0x94D049BB133111EB) & _MASK
    drawn ^= drawn >> 32
    rests = _RESTS.get(last_token)
    if rests is not None:
        return rests[drawn % len(rests)]
    if drawn >> 32 < end_below:
        return END
    return PIECES[drawn % len(PIECES)]
