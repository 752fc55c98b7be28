"""How far a request of each kind may have got and still be tried anew; what failed is in test_leg_failures.py."""

import pytest
from msgspec import Raw

from gateway.retriable import Again, again_of
from gateway.routes import Kind


@pytest.mark.parametrize("kind", [Kind.PAIRABLE, Kind.GENERATING, Kind.COMPUTING, Kind.COUNTING, Kind.TUNNELLING])
def test_what_can_be_sent_twice_is_tried_anew_whatever_failed(kind: Kind) -> None:
    assert again_of(kind, {}, only_on="") is Again.WHATEVER


def test_an_upload_is_tried_anew_only_if_its_rank_never_got_it() -> None:
    assert again_of(Kind.UPLOADING, {}, only_on="") is Again.UNREACHED


def test_what_goes_on_from_a_kept_response_is_tried_anew_only_if_its_rank_never_got_it() -> None:
    assert again_of(Kind.PAIRABLE, {}, only_on="r1") is Again.UNREACHED


@pytest.mark.parametrize(
    ("value", "again"),
    [
        (b"true", Again.UNREACHED),
        (b'"yes"', Again.UNREACHED),
        (b"1", Again.UNREACHED),
        (b"false", Again.WHATEVER),
        (b"null", Again.WHATEVER),
        (b'"maybe"', Again.WHATEVER),
        (b"[1]", Again.WHATEVER),
    ],
)
def test_so_is_a_response_made_in_the_background_however_that_is_spelled(value: bytes, again: Again) -> None:
    assert again_of(Kind.PAIRABLE, {"background": Raw(value), "store": Raw(b"true")}, only_on="") is again
