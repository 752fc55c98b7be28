"""A report as one SVG image, made of plain strings: bars of what a chunk and a request cost. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from xml.sax.saxutils import escape

from forebay.bench.report import Figure, names_in_order

PLOTTED = {
    "chunk_us": "CPU per streamed chunk, µs",
    "request_us": "CPU per request that is not streamed, µs",
    "added_first_p50_ms": "added to the first chunk or the answer, p50, ms",
    "added_gap_p99_ms": "added between two chunks, p99, ms",
    "stream_kib": "memory per idle stream, KiB",
}
WIDTH = 900
LABEL_WIDTH = 330
BAR_WIDTH = 420
ROW = 18
OWN = "#1f6feb"
OTHER = "#8b949e"


def svg(figures: Sequence[Figure]) -> str:
    """The image: a panel for each kind of value, in it a bar for each case and target, with least and greatest."""
    parts: list[str] = []
    y = ROW
    for name, title in PLOTTED.items():
        chosen = [figure for figure in figures if figure.name == name]
        if not chosen:
            continue
        y += ROW
        parts.append(f'<text x="10" y="{y}" font-weight="bold">{escape(title)}</text>')
        scale = BAR_WIDTH / (max(figure.greatest for figure in chosen) or 1.0)
        for case in names_in_order(figure.case for figure in chosen):
            for figure in (each for each in chosen if each.case == case):
                y += ROW
                parts.extend(_bar(figure, y, max(0.0, scale)))
        y += ROW
    size = f'width="{WIDTH}" height="{y + ROW}" viewBox="0 0 {WIDTH} {y + ROW}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="12">'
    return "\n".join([head, f'<rect width="{WIDTH}" height="{y + ROW}" fill="white"/>', *parts, "</svg>", ""])


def _bar(figure: Figure, y: int, scale: float) -> list[str]:
    def place(value: float) -> float:
        return LABEL_WIDTH + max(0.0, value) * scale

    colour = OWN if figure.target.startswith("forebay") else OTHER
    label = escape(f"{figure.case}: {figure.target}")
    length = place(figure.median) - LABEL_WIDTH
    least, greatest, middle = place(figure.least), place(figure.greatest), y - 4
    return [
        f'<text x="{LABEL_WIDTH - 8}" y="{y}" text-anchor="end">{label}</text>',
        f'<rect x="{LABEL_WIDTH}" y="{y - 11}" width="{length:.1f}" height="13" fill="{colour}"/>',
        f'<path d="M{least:.1f} {middle}H{greatest:.1f}" stroke="black"/>',
        f'<text x="{greatest + 6:.1f}" y="{y}">{figure.median:.3g}</text>',
    ]
