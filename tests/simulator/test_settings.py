"""Options are checked once, and a bad one is named."""

import pytest

from simulator.settings import BadOptionError, RankSettings, from_options, help_texts, option_name


def test_no_options_are_the_defaults() -> None:
    assert from_options({}) == RankSettings()
    assert RankSettings().kv_tokens == 524_288


def test_strings_are_read_as_numbers() -> None:
    assert from_options({"port": "0", "speed": "2.5"}) == RankSettings(port=0, speed=2.5)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("port", "many"),
        ("port", 70000),
        ("speed", 0),
        ("role", "both"),
        ("max_num_seqs", 0),
        ("model", ""),
        ("bogus", 1),
        ("kv_blocks", 1),
    ],
)
def test_a_bad_option_is_named(option: str, value: object) -> None:
    with pytest.raises(BadOptionError) as caught:
        from_options({option: value})
    assert caught.value.option == option
    assert caught.value.reason


def test_every_option_is_explained() -> None:
    assert set(help_texts()) == set(RankSettings.__struct_fields__)
    assert option_name("max_num_seqs") == "--max-num-seqs"
