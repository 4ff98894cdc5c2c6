"""Figures of matplotlib, which is an optional dependency."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from ._files import replace_file
from .training.errors import MissingExtraError


def require_matplotlib() -> None:
    """Raise MissingExtraError unless matplotlib is installed."""
    new_figure(1, 1)


def new_figure(width: float, height: float) -> Any:
    """An empty figure of that size in inches.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError(
            f"drawing needs matplotlib ({error}); install it with: pip install 'tinytape[plot]'"
        ) from error
    # Figure without pyplot: no window system, no global state.
    figure = Figure(figsize=(width, height), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save_figure(figure: Any, path: Path) -> None:
    """Write a figure as PNG: all of it or nothing, and through no link."""
    image = io.BytesIO()
    figure.savefig(image, format="png")
    replace_file(path, image.getvalue())


def new_log_formatter() -> Any:
    """Plain numbers along a logarithmic axis, between the powers of ten too where there is room."""
    from matplotlib.ticker import LogFormatter

    return LogFormatter(minor_thresholds=(2, 0.6))
