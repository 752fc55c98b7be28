"""What a request to a rank is for, and what its head says."""

import pytest

from gateway.errors import InvalidRequestError, RankUnreachableError
from gateway.headers import Headers
from gateway.rank_http.request_head import head_of, length_of
from gateway.rank_http.target import Origin, Target, target_of


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("http://a:81/v1/x?y=1", Target(Origin("a", 81, tls=False), b"a:81", b"/v1/x?y=1")),
        ("http://a", Target(Origin("a", 80, tls=False), b"a", b"/")),
        ("HTTPS://rank-1.b_c/", Target(Origin("rank-1.b_c", 443, tls=True), b"rank-1.b_c", b"/")),
        ("http://[::1]:8000/", Target(Origin("::1", 8000, tls=False), b"[::1]:8000", b"/")),
    ],
)
def test_a_url_says_where_to_connect_and_what_to_ask(url: str, target: Target) -> None:
    assert target_of(url) == target


@pytest.mark.parametrize(
    "url",
    ["a:80", "ftp://a", "http://", "http://a:0", "http://a:65536", "http://u@a", "http://a/x y", "http://a/\r\n",
     "http://[::1", "http://::1", "http://a/#f", "http://\u00e9", "http://a\n", "http://a:80:80", "//a"],
)  # fmt: skip
def test_what_is_no_address_is_a_rank_that_cannot_be_reached(url: str) -> None:
    with pytest.raises(RankUnreachableError):
        target_of(url)


TARGET = target_of("http://a:81/x")


def test_framing_and_host_are_written_here_and_nowhere_else() -> None:
    given: Headers = [(b"Host", b"b"), (b"Content-Length", b"7"), (b"Transfer-Encoding", b"x"), (b"x-a", b"1 2")]
    assert (
        head_of("POST", TARGET, given, 2) == b"POST /x HTTP/1.1\r\nhost: a:81\r\nx-a: 1 2\r\ncontent-length: 2\r\n\r\n"
    )
    assert head_of("POST", TARGET, [], None) == b"POST /x HTTP/1.1\r\nhost: a:81\r\ntransfer-encoding: chunked\r\n\r\n"
    assert head_of("GET", TARGET, [], 0) == b"GET /x HTTP/1.1\r\nhost: a:81\r\n\r\n"
    assert head_of("POST", TARGET, [], 0).endswith(b"content-length: 0\r\n\r\n")


@pytest.mark.parametrize(
    ("method", "name", "value"),
    [("POST", b"x a", b""), ("POST", b"", b"y"), ("POST", b"x:", b""), ("POST", b"x", b"a\r\ny: z"),
     ("POST", b"x", b"\x00"), ("POST", b"x", b"\x7f"), ("PO ST", b"x", b"y"), ("", b"x", b"y"), ("POST", b"x\n", b"y")],
)  # fmt: skip
def test_what_would_change_the_request_is_not_sent(method: str, name: bytes, value: bytes) -> None:
    with pytest.raises(InvalidRequestError):
        head_of(method, TARGET, [(b"x-good", b"1"), (name, value)], 0)


@pytest.mark.parametrize("given", [[b"x"], [b"-1"], [b""], [b"1", b"1"], [b"9" * 19]])
async def test_a_body_in_parts_has_one_length_or_none(given: list[bytes]) -> None:
    async def parts() -> object:
        yield b""

    body = parts()
    assert length_of([(b"content-length", b"12")], body) == 12  # type: ignore[arg-type]
    assert length_of([], body) is None  # type: ignore[arg-type]
    with pytest.raises(InvalidRequestError):
        length_of([(b"content-length", value) for value in given], body)  # type: ignore[arg-type]
    await body.aclose()  # type: ignore[attr-defined]
