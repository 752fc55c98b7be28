"""What clients may send: bodies, framings, versions, and where their bytes are cut."""

import json
from typing import NamedTuple

from hypothesis import strategies as st

from tests.gateway.differential.behaviours import Behaviour, behaviours, cut, cuts_of
from tests.gateway.form import FORM_TYPE, field, file, form

NUMBER = "x-number"
JSON_PATHS = ("/v1/completions", "/v1/chat/completions", "/v1/embeddings", "/tokenize", "/invocations")
UPLOAD_PATH = "/v1/audio/transcriptions"
QUERY_PATH = "/tokenizer_info"


class Ask(NamedTuple):
    """One request and what the rank is to do with it."""

    method: str
    path: str
    content_type: str
    body: bytes
    version: str
    headers: tuple[str, ...]
    chunks: tuple[bytes, ...]
    behaviour: Behaviour

    @property
    def closes(self) -> bool:
        return self.version == "1.0" or "Connection: close" in self.headers

    def wire(self, number: int) -> bytes:
        """Its bytes, as the client sends them; the rank knows it by its number."""
        lines = [f"{self.method} {self.path} HTTP/{self.version}", "Host: g", f"{NUMBER}: {number}", *self.headers]
        body = self.body
        if self.method == "POST":
            lines.append(f"Content-Type: {self.content_type}")
            if self.chunks:
                lines.append("Transfer-Encoding: chunked")
                body = b"".join(b"%x;a=b\r\n%b\r\n" % (len(part), part) for part in self.chunks)
                body += b"0\r\nX-Trailed: 1\r\n\r\n"
            else:
                lines.append(f"Content-Length: {len(body)}")
        return "\r\n".join([*lines, "", ""]).encode() + body

    def plain(self, number: int) -> bytes:
        """The same request in its plainest form."""
        return self._replace(version="1.1", headers=("Connection: close",), chunks=()).wire(number)


class Talk(NamedTuple):
    """Requests of one connection: all at once or each after the answer to the one before, cut into `pieces`."""

    asks: tuple[Ask, ...]
    pipelined: bool
    cuts: tuple[int, ...]

    @property
    def sent_together(self) -> list[bytes]:
        """What is sent before an answer is read, each time."""
        wires = [ask.wire(number) for number, ask in enumerate(self.asks)]
        return [b"".join(wires)] if self.pipelined else wires


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    """JSON that a rank gets as it is, spelled in many ways."""
    text = draw(st.text(max_size=20)) * draw(st.sampled_from([1, 1, 1, 3000]))
    fields = {"prompt": text, "model": "sim"} | draw(
        st.dictionaries(st.sampled_from(["n", "stream", "extra", "max_tokens"]), st.sampled_from([1, True, None, "1"]))
    )
    indent = draw(st.sampled_from([None, 1]))
    return json.dumps(fields, ensure_ascii=draw(st.booleans()), indent=indent).encode("utf-8", "replace")


@st.composite
def asks(draw: st.DrawFn, *, last: bool) -> Ask:
    method, path, content_type = "POST", draw(st.sampled_from(JSON_PATHS)), "application/json"
    body = draw(bodies())
    match draw(st.sampled_from(["json", "json", "json", "upload", "query"])):
        case "upload":
            path, content_type = UPLOAD_PATH, FORM_TYPE
            body = form(field("model", "sim"), file(draw(st.binary(max_size=200)) * draw(st.sampled_from([1, 900]))))
        case "query":
            method, path, body = "GET", QUERY_PATH + "?model=sim", b""
    version = draw(st.sampled_from(["1.1", "1.1", "1.0"])) if last else "1.1"
    header_lines = ["X-Odd: \u00e9", "Accept: */*", "Cookie: a=b", "connection: keep-alive", "TE: trailers"]
    headers = draw(st.lists(st.sampled_from(header_lines), max_size=3, unique=True))
    if last and draw(st.booleans()):
        headers = [*(line for line in headers if "connection" not in line), "Connection: close"]
    chunks = cut(body, cuts_of(draw, len(body), 3)) if version == "1.1" and draw(st.booleans()) else ()
    return Ask(method, path, content_type, body, version, tuple(headers), chunks, draw(behaviours()))


@st.composite
def talks(draw: st.DrawFn) -> Talk:
    count = draw(st.integers(1, 3))
    drawn = tuple(draw(asks(last=number == count - 1)) for number in range(count))
    length = sum(len(ask.wire(number)) for number, ask in enumerate(drawn))
    return Talk(drawn, pipelined=draw(st.booleans()), cuts=tuple(cuts_of(draw, min(length, 1500), 4)))
