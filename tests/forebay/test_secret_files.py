"""Secrets that stand in files."""

from pathlib import Path

import click
import pytest

from forebay.secret_files import rank_api_key


def test_the_blanks_around_a_key_are_no_part_of_it(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("\n  a-key-of-the-ranks \n")
    assert rank_api_key("", str(file)) == "a-key-of-the-ranks"
    assert rank_api_key("given", "") == "given"
    assert not rank_api_key("", "")


@pytest.mark.parametrize("content", [b"", b" \n", b"hush two", b"hush\ttab", "hushé".encode(), b"\xff", None])
def test_a_file_without_a_usable_key_is_named_and_not_quoted(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "key"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(click.UsageError) as refused:
        rank_api_key("", str(file))
    assert str(file) in refused.value.message
    assert "--rank-api-key-file" in refused.value.message
    assert "hush" not in refused.value.message


def test_a_key_is_given_in_one_way(tmp_path: Path) -> None:
    with pytest.raises(click.UsageError, match="two ways"):
        rank_api_key("a", str(tmp_path))
