"""Line charts as strokes and words, which an image of any kind can be made of. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Literal

import msgspec

WIDTH = 900
PLOT_LEFT, PLOT_RIGHT = 80, 600
PLOT_HEIGHT = 180
MARGIN = 30
ROW = 16
TICKS = 4
COLOURS = ("#1f6feb", "#d29922", "#2da44e", "#cf222e", "#8250df", "#57606a", "#bf3989", "#1b7c83")
INK, FAINT = "#1f2328", "#d0d7de"


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """A value and its standard error, neither negative."""

    x: float
    y: float
    error: float


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One line, its points from left to right; without any it is in the legend alone."""

    name: str
    points: tuple[Point, ...]


class Chart(msgspec.Struct, frozen=True, kw_only=True):
    """Lines over one axis; `along` names it. There is at least one point."""

    title: str
    along: str
    lines: tuple[Line, ...]


class Stroke(msgspec.Struct, frozen=True, kw_only=True):
    """A line through points of the image, in pixels from its upper left corner."""

    points: tuple[tuple[float, float], ...]
    colour: str
    width: int = 1


class Word(msgspec.Struct, frozen=True, kw_only=True):
    """A text whose `anchor` is at x, its base line at y."""

    x: float
    y: float
    text: str
    anchor: Literal["start", "middle", "end"] = "start"


class Drawing(msgspec.Struct, frozen=True, kw_only=True):
    """What is on an image of so many pixels."""

    height: int
    strokes: tuple[Stroke, ...]
    words: tuple[Word, ...]
    width: int = WIDTH


class Frame(msgspec.Struct, frozen=True, kw_only=True):
    """Where values lie on the image: evenly along, from 0 upwards."""

    top: int
    xs: tuple[float, ...]
    highest: float

    def x(self, value: float) -> float:
        """Values have places at equal distances: 1, 4, 16 and 64 gateways lie as far apart as they should."""
        return PLOT_LEFT + (PLOT_RIGHT - PLOT_LEFT) * (self.xs.index(value) + 0.5) / len(self.xs)

    def y(self, value: float) -> float:
        """Upwards, and no higher than the frame."""
        return self.top + PLOT_HEIGHT * (1 - min(1.0, max(0.0, value) / self.highest))


def drawing(charts: Sequence[Chart]) -> Drawing:
    """The charts below each other."""
    strokes: list[Stroke] = []
    words: list[Word] = []
    top = MARGIN + ROW
    for chart in charts:
        frame = Frame(top=top, xs=_xs(chart), highest=_highest(chart))
        words.append(Word(x=10, y=top - ROW, text=f"{chart.title}, along {chart.along}"))
        for mark in _axes(frame):
            strokes.append(mark[0])
            words.append(mark[1])
        words.extend(Word(x=frame.x(x), y=top + PLOT_HEIGHT + ROW, text=f"{x:g}", anchor="middle") for x in frame.xs)
        for index, line in enumerate(chart.lines):
            colour = COLOURS[index % len(COLOURS)]
            strokes.extend(_strokes(line, frame, colour, index))
            words.append(Word(x=PLOT_RIGHT + 40, y=top + ROW * (index + 1), text=line.name))
        top += max(PLOT_HEIGHT, ROW * len(chart.lines)) + 2 * MARGIN + ROW
    return Drawing(height=top, strokes=tuple(strokes), words=tuple(words))


def _xs(chart: Chart) -> tuple[float, ...]:
    return tuple(sorted({point.x for line in chart.lines for point in line.points}))


def _highest(chart: Chart) -> float:
    """The least 1, 2 or 5 times a power of ten that no point with its error is above."""
    highest = max(point.y + point.error for line in chart.lines for point in line.points)
    if highest <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(highest))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= highest * (1 - 1e-9))


def _axes(frame: Frame) -> Iterator[tuple[Stroke, Word]]:
    for tick in range(TICKS + 1):
        value = frame.highest * tick / TICKS
        y = frame.y(value)
        stroke = Stroke(points=((PLOT_LEFT, y), (PLOT_RIGHT, y)), colour=FAINT if tick else INK)
        yield stroke, Word(x=PLOT_LEFT - 8, y=y + 4, text=f"{value:g}", anchor="end")


def _strokes(line: Line, frame: Frame, colour: str, index: int) -> Iterator[Stroke]:
    """The line, a bar of one standard error up and down at each point, and its sign in the legend."""
    places = tuple((frame.x(point.x), frame.y(point.y)) for point in line.points)
    if places:
        yield Stroke(points=places, colour=colour, width=2)
    for point, (x, _) in zip(line.points, places, strict=True):
        yield Stroke(points=((x, frame.y(point.y - point.error)), (x, frame.y(point.y + point.error))), colour=colour)
        yield Stroke(points=((x - 3, frame.y(point.y)), (x + 3, frame.y(point.y))), colour=colour, width=3)
    legend_y = frame.top + ROW * (index + 1) - 4
    yield Stroke(points=((PLOT_RIGHT + 14, legend_y), (PLOT_RIGHT + 34, legend_y)), colour=colour, width=2)
