"""Drawing with matplotlib, which is an optional dependency."""

from __future__ import annotations

import contextlib
import io
import math
import os
from collections.abc import Iterator, Sequence
from typing import Any

from ._files import replace_file
from ._terminal import printable
from .training.errors import MissingExtraError

_LONGEST = 120  # characters of a title that are considered
_LOGARITHMIC = 2.5  # an axis is logarithmic from this ratio of the largest to the smallest value


def require_matplotlib() -> None:
    """Raise MissingExtraError unless matplotlib is installed."""
    try:
        import matplotlib.backends.backend_agg
        import matplotlib.figure  # noqa: F401  # whether it is there
    except ImportError as error:
        raise MissingExtraError(
            f"drawing needs matplotlib ({error}); install it with: pip install 'tinytape[plot]'"
        ) from error


@contextlib.contextmanager
def picture(path: str | os.PathLike[str], width: float, height: float) -> Iterator[Any]:
    """An empty figure of that size in inches; at the end it is written to ``path`` as PNG.

    Raises:
        MissingExtraError: matplotlib is not installed.
        OSError: the file cannot be written, or is a link; what was there stays.
    """
    require_matplotlib()
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    content = io.BytesIO()
    with rc_context({"text.usetex": False}):  # also where the user's settings turn it on
        # Figure without pyplot: no window system, no global state.
        figure = Figure(figsize=(width, height), dpi=150, layout="constrained")
        FigureCanvasAgg(figure)
        yield figure
        figure.savefig(content, format="png")
    replace_file(path, content.getvalue())


def plain(text: str) -> str:
    """Any text so that matplotlib shows it as it is: no mathematics, only glyphs of the font."""
    from matplotlib.font_manager import FontProperties, findfont, get_font

    font = get_font(findfont(FontProperties()))
    shown = "".join(
        c if font.get_char_index(ord(c)) else c.encode("ascii", "backslashreplace").decode()
        for c in printable(text)
    )
    return shown.replace("$", r"\$")


def number(value: float) -> str:
    """Three decimals, or with a power of ten if that would be long."""
    return f"{value:.3f}" if abs(value) < 1e6 else f"{value:.3e}"


def set_title(figure: Any, title: str) -> None:
    """A title at the left, shortened to the width of the figure."""
    text = figure.suptitle(plain(title[:_LONGEST]), x=0.01, ha="left")
    renderer = figure.canvas.get_renderer()
    length = min(len(title), _LONGEST)
    while text.get_window_extent(renderer).x1 > 0.99 * figure.bbox.width and length > 1:
        length -= 1
        text.set_text(plain(title[:length]) + "…")


def legend_above(axes: Any, above: Any, columns: int) -> None:
    """The legend of ``axes``, drawn in the separate axes ``above``, where no line crosses it."""
    above.set_axis_off()
    above.legend(
        *axes.get_legend_handles_labels(),
        loc="lower left",
        ncols=columns,
        fontsize=9,
        frameon=False,
        borderpad=0,
        borderaxespad=0,
    )


def steps_along(axes: Any, last: float) -> None:
    """An x axis of steps from 0, marked at whole numbers even if there are few steps."""
    from matplotlib.ticker import MaxNLocator

    last = max(1, last)
    axes.set_xlim(-0.02 * last, 1.02 * last)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=7, steps=[1, 2, 2.5, 5, 10], integer=True))
    axes.xaxis.set_major_formatter(lambda step, _: f"{step:,.0f}")


def numbers_along(axis: Any, values: Sequence[float]) -> None:
    """An axis for these values, logarithmic if they differ by a large factor."""
    from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

    if 0 < min(values) * _LOGARITHMIC < max(values):
        decades = math.log10(max(values) / min(values))
        subs = (1, 1.5, 2, 3, 5, 7) if decades < 1.3 else (1, 2, 5) if decades < 2.5 else (1,)
        axis.axes.set(**{f"{axis.axis_name}scale": "log"})
        axis.set_major_locator(LogLocator(subs=subs, numticks=6))
        axis.set_minor_locator(NullLocator())
    else:
        axis.set_major_locator(MaxNLocator(nbins=5))
    axis.set_major_formatter(lambda value, _: f"{value:.6g}")
