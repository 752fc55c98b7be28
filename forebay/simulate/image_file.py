"""Charts as an image file, SVG or PNG by its name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from forebay.simulate.chart import Chart, drawing
from forebay.simulate.svg import svg


def check_image_file(plot: str) -> None:
    """Raise click.UsageError for what could not be drawn, before minutes are spent on it."""
    if plot and not Path(plot).absolute().parent.is_dir():
        raise click.UsageError(f"{plot}: there is no such folder")
    if plot and Path(plot).is_dir():
        raise click.UsageError(f"{plot}: that is a folder")
    if plot.endswith(".png"):
        try:
            import PIL  # noqa: F401, PLC0415 - only to see whether it is there
        except ImportError as error:
            raise click.UsageError(f"{plot}: a PNG image needs Pillow (pip install pillow), or ask for .svg") from error


def write_image(path: Path, charts: Sequence[Chart]) -> None:
    """Raises click.ClickException where the file cannot be written."""
    drawn = drawing(charts)
    if path.name.endswith(".png"):
        from forebay.simulate.png import png  # noqa: PLC0415 - Pillow is not there unless asked for

        image = png(drawn)
    else:
        image = svg(drawn).encode()
    try:
        path.write_bytes(image)
    except OSError as error:
        raise click.ClickException(f"{path}: {error.strerror or error}") from error
