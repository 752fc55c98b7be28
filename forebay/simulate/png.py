"""A drawing as a PNG image, drawn by Pillow, which only this needs: the extra `png`."""

from __future__ import annotations

from io import BytesIO

from PIL import Image, ImageDraw, ImageFont

from forebay.simulate.chart import INK, Drawing

SCALE = 2
"""Pixels of the image for each of the drawing: text stays sharp on a dense screen."""
ANCHORS = {"start": "ls", "middle": "ms", "end": "rs"}


def png(drawing: Drawing) -> bytes:
    """The image."""
    image = Image.new("RGB", (drawing.width * SCALE, drawing.height * SCALE), "white")
    draw = ImageDraw.Draw(image)
    for stroke in drawing.strokes:
        draw.line([(x * SCALE, y * SCALE) for x, y in stroke.points], fill=stroke.colour, width=stroke.width * SCALE)
    font = ImageFont.load_default(12 * SCALE)
    for word in drawing.words:
        draw.text((word.x * SCALE, word.y * SCALE), word.text, fill=INK, font=font, anchor=ANCHORS[word.anchor])
    file = BytesIO()
    image.save(file, "PNG", optimize=True)
    return file.getvalue()
