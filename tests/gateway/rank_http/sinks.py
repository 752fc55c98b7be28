"""Where tests have bodies poured into."""

from gateway.upstream import payload_of


class Kept:
    """Keeps what it gets. `parts`: each call's payload; `verbatim`: the bytes of all whole chunks."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.verbatim = b""

    @property
    def payload(self) -> bytes:
        return b"".join(self.parts)

    def take_alike(self, _: bytes) -> bool:
        return False

    def take_chunks(self, chunks: bytes) -> None:
        assert chunks
        self.verbatim += chunks
        self.parts.append(payload_of(chunks))

    def take(self, payload: bytes) -> None:
        assert payload
        self.parts.append(payload)
