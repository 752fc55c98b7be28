"""Prompts of a given length: words that most tokenizers have as one token each. Pure."""

from __future__ import annotations

from random import Random

import msgspec

VOCABULARY = (
    "the water and land house time year people way day man thing woman life child world school state family "
    "student group country problem hand part place case week company system program question work government "
    "number night point home room mother area money story fact month lot right study book eye job word business "
    "issue side kind head service friend father power hour game line end member law car city community name"
)
WORDS = tuple(VOCABULARY.split())
FEW_WORDS, MANY_WORDS = 50, 450
"""Of the two prompts by which it is learned how many tokens a word is."""


class TokenScale(msgspec.Struct, frozen=True):
    """How many tokens a prompt of some words has: `fixed` for the template, and `per_word`."""

    fixed: float = 0.0
    per_word: float = 1.0

    def words(self, tokens: int) -> int:
        """The words for so many tokens, 1 at least."""
        return max(1, round((tokens - self.fixed) / self.per_word))


def token_scale(few_tokens: int, many_tokens: int) -> TokenScale:
    """From the tokens of FEW_WORDS and MANY_WORDS. One word is one token where the counts make no sense."""
    per_word = (many_tokens - few_tokens) / (MANY_WORDS - FEW_WORDS)
    if per_word <= 0:
        return TokenScale()
    return TokenScale(max(0.0, few_tokens - per_word * FEW_WORDS), per_word)


def prose(chance: Random, words: int) -> str:
    """So many words."""
    return " ".join(chance.choices(WORDS, k=words))
