"""The socket that stat loggers push to is this user's alone and one agent's at a time."""

import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from agent import stat_socket as module
from agent.errors import StatSocketError
from agent.stat_socket import OFF, default_path, stat_socket
from agent.this_machine import is_on_this_machine


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "stats.sock"


@pytest.fixture
def default(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The default path, in a folder of this test's."""
    path = tmp_path / "forebay-user" / "stats.sock"
    monkeypatch.setattr(module, "default_path", lambda: path)
    return path


def test_only_its_user_may_write_to_it_and_it_is_gone_at_the_end(path: Path) -> None:
    with stat_socket(str(path)) as bound:
        assert bound is not None
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not path.exists()


def test_a_second_agent_is_refused_and_the_first_keeps_it(path: Path) -> None:
    with stat_socket(str(path)) as first:
        assert first is not None
        with pytest.raises(StatSocketError, match=rf"{path}: another agent listens there"), stat_socket(str(path)):
            pass
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"still here", str(path))
        assert first.recv(100) == b"still here"


def test_what_a_killed_agent_left_is_taken_over(path: Path) -> None:
    code = (
        "import os, sys; from agent.stat_socket import stat_socket\n"
        "with stat_socket(sys.argv[1]): os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code, str(path)], check=False, cwd=Path(__file__).parents[2])
    assert path.is_socket()
    with stat_socket(str(path)) as bound:
        assert bound is not None


def test_what_is_no_socket_is_left_alone(path: Path) -> None:
    path.write_text("mine")
    with pytest.raises(StatSocketError, match="something else"), stat_socket(str(path)):
        pass
    assert path.read_text() == "mine"


@pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, socket.SOCK_STREAM])
def test_a_socket_that_another_program_listens_on_is_left_to_it(path: Path, kind: socket.SocketKind) -> None:
    with socket.socket(socket.AF_UNIX, kind) as other:
        other.bind(str(path))
        if kind is socket.SOCK_STREAM:
            other.listen()
        with pytest.raises(StatSocketError, match=f"{path}: another program listens there"), stat_socket(str(path)):
            pass
        with socket.socket(socket.AF_UNIX, kind) as client:
            client.connect(str(path))


def test_a_lock_that_was_cleaned_away_costs_the_first_agent_nothing(path: Path) -> None:
    with stat_socket(str(path)) as first:
        assert first is not None
        path.with_name(f"{path.name}.lock").unlink()
        with pytest.raises(StatSocketError, match="another program listens there"), stat_socket(str(path)):
            pass
        assert path.is_socket()


def test_a_link_is_no_socket_wherever_it_leads(path: Path) -> None:
    path.symlink_to("nowhere")
    with pytest.raises(StatSocketError, match="something else"), stat_socket(str(path)):
        pass
    assert path.is_symlink()


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(StatSocketError, match="no-such-folder"), stat_socket(str(tmp_path / "no-such-folder" / "s")):
        pass


def test_a_path_too_long_for_a_socket_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StatSocketError, match="stat socket"), stat_socket(str(tmp_path / ("x" * 120))):
        pass


def test_it_can_be_switched_off() -> None:
    with stat_socket(OFF) as bound:
        assert bound is None


def test_the_default_one_is_in_a_folder_of_its_users_alone(default: Path) -> None:
    with stat_socket("") as bound:
        assert bound is not None
        assert stat.S_IMODE(default.parent.stat().st_mode) == 0o700


def test_without_the_default_one_ranks_are_read_by_their_pages(default: Path) -> None:
    with stat_socket("") as first, stat_socket("") as second:
        assert first is not None
        assert second is None
    default.parent.chmod(0o777)
    with stat_socket("") as bound:
        assert bound is None


def test_the_default_path_names_the_user() -> None:
    assert default_path().parent.name.startswith("forebay-")


@pytest.mark.parametrize(
    ("host", "is_ours"),
    [("127.0.0.1", True), ("localhost", True), ("192.0.2.1", False), ("no-such-host.invalid", False)],
)
async def test_only_addresses_of_this_machine_are_its_own(host: str, is_ours: bool) -> None:
    assert await is_on_this_machine(host) is is_ours
