"""Where a field is found in a form, however its bytes are cut."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import InvalidRequestError
from gateway.form import MAX_PART_HEAD_BYTES, FieldFinder, boundary_of
from tests.gateway.form import BOUNDARY, field, file, form


def finder() -> FieldFinder:
    return FieldFinder(BOUNDARY.encode(), "model")


@pytest.mark.parametrize(
    ("content_type", "boundary"),
    [
        ("multipart/form-data; boundary=abc", b"abc"),
        ('Multipart/Form-Data;charset=utf-8; BOUNDARY="a b;c"', b"a b;c"),
        ("multipart/form-data;boundary=abc;charset=utf-8", b"abc"),
    ],
)
def test_the_boundary_is_read(content_type: str, boundary: bytes) -> None:
    assert boundary_of([(b"content-type", content_type.encode())]) == boundary


@pytest.mark.parametrize(
    "content_type",
    ["", "application/json", "multipart/form-data", "multipart/form-data; boundary=", "multipart/mixed; boundary=a",
     "multipart/form-data; boundary=" + "x" * 71, "multipart/form-data; xboundary=a"],
)  # fmt: skip
def test_without_a_boundary_it_is_no_form(content_type: str) -> None:
    with pytest.raises(InvalidRequestError):
        boundary_of([(b"content-type", content_type.encode())])


CASES = [
    pytest.param(form(field("model", "sim"), file(b"x")), "sim", id="first"),
    pytest.param(form(field("language", "en"), file(b"\r\n--no\r\n\r\n"), field("model", "sim")), "sim", id="last"),
    pytest.param(form(file(b"x" * 5000), field("language", "en")), None, id="not there"),
    pytest.param(form(field("model", "")), "", id="empty"),
    pytest.param(form(field("model", "a"), field("model", "b")), "a", id="twice"),
    pytest.param(form(field("filename", "x"), field("xmodel", "y"), field("model", "z")), "z", id="names alike"),
    pytest.param(form(field("model", "\u00e9\r\nz")), "\u00e9\r\nz", id="two lines"),
    pytest.param(form(field("model", "sim")).replace(b'"model"', b"model"), "sim", id="without quotes"),
    pytest.param(form(field("model", "sim")).replace(b"Content-Disp", b"X-A: b\r\ncontent-DISP"), "sim", id="headers"),
    pytest.param(b"preamble\r\n" + form(field("model", "sim")), "sim", id="a preamble"),
    pytest.param(form() + field("model", "sim"), None, id="after the end"),
    pytest.param(b"", None, id="nothing"),
]  # fmt: skip


@pytest.mark.parametrize(("raw", "value"), CASES)
@pytest.mark.parametrize("size", [1, 2, 7, 1 << 20])
def test_the_field_is_found_however_the_form_is_cut(raw: bytes, value: str | None, size: int) -> None:
    found = finder()
    for start in range(0, len(raw), size):
        found.feed(raw[start : start + size])
    assert found.value == value


@given(before=st.lists(st.binary(max_size=40), max_size=3), cuts=st.lists(st.integers(1, 60)), value=st.text("ab-\r\n"))
def test_whatever_stands_before_it_it_is_found_as_soon_as_it_is_whole(
    before: list[bytes], cuts: list[int], value: str
) -> None:
    raw = b"".join(map(file, before)) + field("model", value)
    rest = form(file(b"more"))
    found = finder()
    for cut in cuts:
        found.feed(raw[:cut])
        raw = raw[cut:]
    found.feed(raw)
    found.feed(rest)
    assert (found.is_over, found.value) == (True, value)


def test_a_field_with_an_endless_head_is_not_read_on() -> None:
    found = finder()
    found.feed(f"--{BOUNDARY}\r\nContent-Disposition: ".encode() + b"x" * MAX_PART_HEAD_BYTES)
    assert (found.is_over, found.value) == (True, None)
