"""A drawing as an SVG image, made of plain strings. Pure."""

from __future__ import annotations

from xml.sax.saxutils import escape

from forebay.simulate.chart import INK, Drawing, Stroke, Word


def svg(drawing: Drawing) -> str:
    """The image."""
    size = f'width="{drawing.width}" height="{drawing.height}" viewBox="0 0 {drawing.width} {drawing.height}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="12" fill="{INK}">'
    ground = f'<rect width="{drawing.width}" height="{drawing.height}" fill="white"/>'
    return "\n".join([head, ground, *map(_stroke, drawing.strokes), *map(_word, drawing.words), "</svg>", ""])


def _stroke(stroke: Stroke) -> str:
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in stroke.points)
    return f'<polyline points="{points}" fill="none" stroke="{stroke.colour}" stroke-width="{stroke.width}"/>'


def _word(word: Word) -> str:
    return f'<text x="{word.x:.1f}" y="{word.y:.1f}" text-anchor="{word.anchor}">{escape(word.text)}</text>'
