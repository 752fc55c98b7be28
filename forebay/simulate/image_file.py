"""Charts as an image file, SVG or PNG by its name."""

from __future__ import annotations

from collections.abc import Sequence

import click

from forebay.result_file import check_result_file, write_result
from forebay.simulate.chart import Chart, drawing
from forebay.simulate.svg import svg


def check_image_file(plot: str) -> None:
    """Raise click.UsageError for what could not be drawn, before minutes are spent on it."""
    check_result_file(plot)
    if plot.endswith(".png"):
        try:
            import PIL  # noqa: F401, PLC0415 - only to see whether it is there
        except ImportError as error:
            raise click.UsageError(f"{plot}: a PNG image needs Pillow (pip install pillow), or ask for .svg") from error


def write_image(plot: str, charts: Sequence[Chart]) -> None:
    """Raises click.ClickException where the file cannot be written."""
    drawn = drawing(charts)
    if plot.endswith(".png"):
        from forebay.simulate.png import png  # noqa: PLC0415 - Pillow is not there unless asked for

        image = png(drawn)
    else:
        image = svg(drawn).encode()
    write_result(plot, image)
