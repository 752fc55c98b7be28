"""The files by which ranks on https are verified; how they are is tested where ranks are asked."""

from __future__ import annotations

from pathlib import Path

import pytest

from scheduler.rank_tls import TlsFileError, rank_context
from tests.certificates import Authority


@pytest.mark.parametrize(("option", "missing"), [("rank-ca", 0), ("rank-cert", 1), ("rank-cert", 2)])
def test_a_file_that_cannot_be_used_is_named_by_its_option(tmp_path: Path, option: str, missing: int) -> None:
    authority = Authority(tmp_path / "tls")
    own = authority.signs("own")
    files = [str(authority.ca), str(own.cert), str(own.key)]
    assert rank_context(*files)
    files[missing] = str(tmp_path / "missing")
    with pytest.raises(TlsFileError, match=f"--{option}: cannot use .*missing.*: No such file"):
        rank_context(*files)
