"""What stands for a prompt while Redis is gone: where many begin alike, something further on."""

from collections import Counter
from random import Random

from scheduler.crowds import LAST, Crowds

RANKS = 8


def blocks(*names: object) -> tuple[bytes, ...]:
    """As the gateway makes them: each hash is of all before it, too."""
    return tuple(repr(names[: end + 1]).encode() for end in range(len(names)))


def key(crowds: Crowds, prompt: tuple[bytes, ...], seed: int = 0, ranks: int = RANKS) -> str:
    return crowds.key(prompt, ranks, Random(seed))


def test_the_first_block_stands_for_prompts_that_few_share() -> None:
    crowds = Crowds()
    for number in range(100):
        crowds.see(blocks(number % 25, number))
    assert key(crowds, blocks(1, "a")) == key(crowds, blocks(1, "b")) != key(crowds, blocks(2, "a"))


def test_prompts_under_one_system_prompt_are_told_apart_behind_it() -> None:
    crowds = Crowds()
    prompts = [blocks("system", f"conversation {number % 20}", number, number) for number in range(200)]
    for prompt in prompts:
        crowds.see(prompt)
    assert len({key(crowds, prompt) for prompt in prompts}) == 20
    again = blocks("system", "conversation 3", "went", "on", "and", "on")
    assert key(crowds, again) == key(crowds, prompts[3])


def test_prompts_that_are_alike_to_the_end_are_divided_by_chance() -> None:
    crowds = Crowds()
    for _ in range(200):
        crowds.see(blocks("system", "document"))
    keys = Counter(key(crowds, blocks("system", "document"), seed) for seed in range(800))
    assert len(keys) == RANKS
    assert max(keys.values()) < 2 * 800 / RANKS


def test_a_prompt_that_nobody_has_seen_has_its_own_key() -> None:
    assert key(Crowds(), blocks("new")) == blocks("new")[0].hex()


def test_a_prompt_without_blocks_has_none() -> None:
    assert not key(Crowds(), ())


def test_a_few_prompts_are_no_crowd_however_many_ranks_there_are() -> None:
    crowds = Crowds()
    for number in range(4):
        crowds.see(blocks("shared", number))
    assert len({key(crowds, blocks("shared", number), ranks=10_000) for number in range(4)}) == 1


def test_a_crowd_that_is_gone_is_forgotten() -> None:
    crowds = Crowds()
    for number in range(LAST):
        crowds.see(blocks("system", number))
    for number in range(LAST):
        crowds.see(blocks(number, number))
    assert key(crowds, blocks("system", 1)) == key(crowds, blocks("system", 2))
