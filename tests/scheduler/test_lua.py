"""The text of the scripts."""

from __future__ import annotations

import re

import pytest

from scheduler.lua import Script, digest, source


@pytest.mark.parametrize("script", Script)
def test_a_script_s_name_is_the_digest_of_its_text(script: Script) -> None:
    assert re.fullmatch("[0-9a-f]{40}", digest(script))
    assert len({digest(each) for each in Script}) == len(Script)


@pytest.mark.parametrize("script", Script)
def test_a_script_ends_with_its_own_file(script: Script) -> None:
    assert f"-- {script.value}: " in source(script)


@pytest.mark.parametrize("script", Script)
def test_no_script_asks_for_what_managed_servers_forbid(script: Script) -> None:
    assert not re.findall(r"'(?:KEYS|SCAN|HSCAN|INFO|CONFIG|SELECT|EVAL)'", source(script))


@pytest.mark.parametrize("script", Script)
def test_keys_come_in_KEYS_only(script: Script) -> None:  # noqa: N802 - Redis spells it so
    assert "forebay" not in source(script)
