"""What is read of a WebSocket's handshake, and written."""

import pytest

from gateway import websocket
from gateway.headers import Headers

ASKED: Headers = [(b"connection", b"keep-alive, Upgrade"), (b"upgrade", b"websocket")]
KEY = b"openai-insecure-api-key.sk-1"


@pytest.mark.parametrize(
    "headers",
    [
        ASKED,
        [(b"connection", b"upgrade"), (b"upgrade", b"h2c, WebSocket")],
        [(b"connection", b"keep-alive"), (b"connection", b"UPGRADE"), (b"upgrade", b"h2c"), (b"upgrade", b"websocket")],
        [*ASKED, (b"content-length", b"0")],
    ],
)
def test_an_offer_is_known_however_it_is_spelled(headers: Headers) -> None:
    assert websocket.is_offer("GET", "1.1", headers)


@pytest.mark.parametrize(
    ("method", "version", "headers"),
    [
        ("POST", "1.1", ASKED),
        ("GET", "1.0", ASKED),
        ("GET", "1.1", ASKED[:1]),
        ("GET", "1.1", ASKED[1:]),
        ("GET", "1.1", [ASKED[0], (b"upgrade", b"websockets")]),
        ("GET", "1.1", [(b"connection", b"upgrades"), ASKED[1]]),
        ("GET", "1.1", [*ASKED, (b"content-length", b"1")]),
        ("GET", "1.1", [*ASKED, (b"content-length", b"00")]),
        ("GET", "1.1", [*ASKED, (b"transfer-encoding", b"chunked")]),
    ],
)
def test_what_only_looks_like_an_offer_is_none(method: str, version: str, headers: Headers) -> None:
    assert not websocket.is_offer(method, version, headers)


def test_a_key_is_found_among_the_subprotocols_and_held_back() -> None:
    asked = [(b"x", b"1"), (b"sec-websocket-protocol", b"realtime, " + KEY), (b"sec-websocket-protocol", b"b")]
    assert websocket.authorization_of(asked) == b"Bearer sk-1"
    assert websocket.authorization_of(asked[:1]) is None
    held = [(b"x", b"1"), (b"sec-websocket-protocol", b"realtime, b"), *websocket.OFFER]
    assert websocket.for_rank(asked, hold_key=True) == held
    passed = [(b"x", b"1"), (b"sec-websocket-protocol", b"realtime, " + KEY + b", b"), *websocket.OFFER]
    assert websocket.for_rank(asked, hold_key=False) == passed
    assert websocket.for_rank([(b"sec-websocket-protocol", KEY)], hold_key=True) == websocket.OFFER


def test_a_subprotocol_is_chosen_only_for_who_brought_a_key_and_offered_it_and_got_none() -> None:
    chosen = (b"sec-websocket-protocol", b"realtime")

    def answered(said: Headers, *offered: bytes) -> Headers:
        return websocket.for_client(said, [(b"sec-websocket-protocol", b",".join(offered))])

    assert answered([], b"realtime", KEY) == [chosen, *websocket.OFFER]
    for offered in ([b"realtime"], [KEY], [KEY, b"other"]):
        assert answered([], *offered) == websocket.OFFER
    theirs = [(b"sec-websocket-protocol", b"other")]
    assert answered(theirs, b"realtime", b"other", KEY) == [*theirs, *websocket.OFFER]


@pytest.mark.parametrize(
    ("origin", "origins", "let_in"),
    [
        (b"http://gateway:8000", (), True),
        (b"HTTPS://Gateway:8000", (), True),
        (b"http://gateway", (), False),
        (b"https://app.example", ("https://app.example",), True),
        (b"https://app.example.evil", ("https://app.example",), False),
        (b"https://app.example", ("*",), True),
        (b"null", (), False),
        (b"", (), False),
        (b"\xff", (), False),
        (None, (), True),
    ],
)
def test_pages_are_let_in_by_their_origin(origin: bytes | None, origins: tuple[str, ...], let_in: bool) -> None:
    headers = [(b"host", b"gateway:8000"), *([(b"origin", origin)] if origin is not None else [])]
    assert websocket.lets_in(origins, headers) is let_in
    assert not websocket.lets_in((), [(b"origin", b"null")])
