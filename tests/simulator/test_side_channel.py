"""What is said between engines arrives as it was said, however it is cut; what is no frame ends the connection."""

import re
import socket
from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.side_channel_frames import Contents, Done, Frame, FrameError, Heartbeat, Read, Unpacker, Welcome, pack
from tests.simulator.prefill_decode import COMPLETIONS, ask, first_leg, prompt
from tests.simulator.rank_process import DEADLINE_S, running_rank

blocks = st.lists(st.integers(0, 2**63 - 1), max_size=5).map(tuple)
frames = st.lists(
    st.builds(Welcome, st.text(), st.integers(1, 64))
    | st.builds(Read, st.integers(0, 9), st.text(), blocks)
    | st.builds(Contents, st.integers(0, 9), st.none() | blocks)
    | st.builds(Done, st.text())
    | st.builds(Heartbeat, st.text()),
    max_size=6,
)


@given(frames, st.integers(1, 30))
def test_frames_survive_being_cut(sent: list[Frame], size: int) -> None:
    data, unpacker = b"".join(map(pack, sent)), Unpacker()
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    assert [frame for piece in pieces for frame in unpacker.feed(piece)] == sent


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\n\r\n", b"\xff\xff\xff\xff", b"\x00\x00\x00\x01\xc1"])
def test_what_is_no_frame_is_refused(data: bytes) -> None:
    with pytest.raises(FrameError):
        list(Unpacker().feed(data))


def test_a_stranger_on_the_side_channel_is_hung_up_on() -> None:
    with running_rank("--role", "prefill") as rank:
        params = rank.post(COMPLETIONS, first_leg(ask(prompt(20), 1))).json()["kv_transfer_params"]
        with closing(socket.create_connection(("127.0.0.1", params["remote_port"]), DEADLINE_S)) as client:
            client.sendall(b"GET / HTTP/1.1\r\n\r\n")
            received = b"".join(iter(lambda: client.recv(4096), b""))
        assert re.search(params["remote_engine_id"].encode(), received)
        assert rank.get("/health").status == 200
