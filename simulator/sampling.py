"""Draws a sequence's next token from the KV it has, and tells whether it ends there. Pure."""

from __future__ import annotations

from simulator.model import extend, next_token
from simulator.sequence import Sequence
from simulator.step import Finish, TokenOut
from simulator.tokens import END


def sample(sequence: Sequence, end_s: float, end_below: int, block_size_tokens: int) -> TokenOut:
    """The sequence's next token, known at `end_s`; `end_below` is `model.end_threshold`.

    A request for no token ends here. With a `taint` the token is drawn from another state than the one its tokens have,
    so the text is wrong.
    """
    request = sequence.request
    if not request.max_tokens:
        return _end_of_prompt(sequence, end_s)
    may_end = not request.ignore_eos and sequence.generated >= request.min_tokens
    token = next_token(sequence.state ^ sequence.taint, sequence.last_token, request.salt, end_below if may_end else 0)
    sequence.state = extend(sequence.state, token)
    sequence.last_token = token
    sequence.num_tokens += 1
    sequence.generated += 1
    if sequence.num_tokens % block_size_tokens == 0:
        sequence.keys.append(sequence.state)
    gap_s = end_s - sequence.last_token_s
    sequence.last_token_s = end_s
    if sequence.generated == 1:
        sequence.first_token_s = end_s
    if token == END or request.stop_token_ids or sequence.num_tokens >= sequence.most_tokens:
        finish, stop_token = _finish(sequence, token)
        return TokenOut(sequence, sequence.generated, token, finish, stop_token, gap_s)
    return TokenOut(sequence, sequence.generated, token, None, None, gap_s)


def _end_of_prompt(sequence: Sequence, end_s: float) -> TokenOut:
    gap_s = end_s - sequence.last_token_s
    sequence.first_token_s = sequence.last_token_s = end_s
    return TokenOut(sequence, 1, END, "stop", None, gap_s)


def _finish(sequence: Sequence, token: int) -> tuple[Finish | None, int | None]:
    """How the sequence ends with this token, and the stop token that ended it, if it does.

    While there are no more than `min_tokens`, vLLM would not draw a stop token at all; here it is one like others.
    """
    if token == END:
        return "stop", None
    stops = sequence.request.stop_token_ids
    if stops and token in stops and sequence.generated > sequence.request.min_tokens:
        return "stop", token
    return ("length" if sequence.num_tokens >= sequence.most_tokens else None), None
