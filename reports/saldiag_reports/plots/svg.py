"""Converts a matplotlib figure to inline SVG for an HTML page.

Three decisions:

* ``svg.fonttype`` is ``none``: text stays text, so that layer names can be searched, copied and
  read aloud, and the file stays small. matplotlib lays out with DejaVu Sans, which is wider than
  nearly every system font, so what the browser puts in its place fits.
* Colours of the page (ink, grid, verdicts, lines) are drawn in placeholder colours, which become
  CSS variables: one plot fits light mode, dark mode and print.
* Figures are figure without pyplot: no global figure list, no backend to choose, nothing to close.
"""

from __future__ import annotations

import contextlib
import io
import re
import warnings
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from html import escape
from typing import Any

import matplotlib as mpl
from markupsafe import Markup
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from saldiag.core.wording import plain

WIDTH_INCHES = 9.0
"""Width of every figure in inches (72 SVG units each); the page scales it."""

INK, MUTED, GRID, PAPER = "#010101", "#010102", "#010103", "#010104"
TRAINING, INFERENCE, BATCH, CUT, NONE = "#010201", "#010202", "#010203", "#010204", "#010205"
GOOD = "#010206"
VARIABLES = {
    INK: "ink", MUTED: "muted", GRID: "grid", PAPER: "paper", TRAINING: "training",
    INFERENCE: "inference", BATCH: "batch", CUT: "cut", NONE: "none",
    GOOD: "good",
}  # fmt: skip
"""CSS variable of the page for each placeholder colour."""

STYLE: dict[str, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "saldiag",
    "text.parse_math": False,  # a layer may be called $x^2$
    "axes.formatter.use_mathtext": False,
    "axes.unicode_minus": True,
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.labelsize": 9,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "text.color": INK,
    "axes.labelcolor": MUTED,
    "xtick.color": GRID,
    "ytick.color": GRID,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "axes.edgecolor": GRID,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "savefig.facecolor": "none",
    "axes.grid": True,
    "axes.grid.axis": "y",
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "axes.linewidth": 0.8,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "xtick.major.size": 3,
    "ytick.major.size": 0,
    "ytick.minor.size": 0,
    "ytick.minor.width": 0,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "lines.linewidth": 1.8,
    "lines.markersize": 4,
    "savefig.dpi": 144,
    "path.simplify": True,
}

_ATTRIBUTES = {"{http://www.w3.org/1999/xlink}href": "href"}
_COLOUR = re.compile("|".join(VARIABLES))
_REFERENCE = re.compile(r"url\(#([^)]+)\)")
_FONT = re.compile(r"font-family:[^;]*;?|font: ?(?:\d+ )?([\d.]+)px[^;]*")


@contextlib.contextmanager
def drawing_style() -> Iterator[None]:
    """Use the reports' style inside the block; matplotlib's settings are restored after it.

    Warnings about glyphs that DejaVu Sans lacks are ignored: the browser has them.
    """
    with mpl.rc_context(), warnings.catch_warnings():
        mpl.rcdefaults()  # the user's matplotlibrc must not change a report
        for key, value in STYLE.items():
            mpl.rcParams[key] = value  # type: ignore[index]
        warnings.filterwarnings("ignore", message=r"Glyph .* missing from font")
        warnings.filterwarnings("ignore", message=r"Matplotlib currently does not support")
        yield


def new_figure(height: float) -> Figure:
    """A figure of the page's width and a height in inches, without pyplot."""
    figure = Figure(figsize=(WIDTH_INCHES, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def inline_svg(figure: Figure, name: str, title: str, description: str) -> Markup:
    """The figure as an ``<svg>`` element.

    Args:
        figure: the figure.
        name: prefix of the ids in the SVG; must be unique on the page.
        title: accessible name, which browsers show as a tooltip.
        description: what the figure shows, in one or two sentences, for screen readers.
    """
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    # The document comes from the line above, not from outside.
    root = ET.fromstring(buffer.getvalue())  # noqa: S314
    for element in root.iter():
        _adapt_element(element, name)
    _remove_elements(root, {"metadata", "style"})
    for attribute in ("width", "height", "version"):
        root.attrib.pop(attribute, None)
    root.attrib.update({"role": "img", "aria-labelledby": f"{name}-title {name}-desc"})
    root.insert(0, _text_element("desc", f"{name}-desc", description))
    root.insert(0, _text_element("title", f"{name}-title", title))
    # ElementTree has escaped all texts.
    return Markup(ET.tostring(root, encoding="unicode"))  # noqa: S704


def _adapt_element(element: ET.Element, name: str) -> None:
    """Adapt an element to the page: no namespaces, prefixed ids, colours as CSS variables."""
    element.tag = element.tag.rpartition("}")[2]
    attributes = {_ATTRIBUTES.get(key, key): value for key, value in element.attrib.items()}
    element.attrib.clear()
    for key, value in attributes.items():
        if key == "id":
            element.set(key, f"{name}-{value}")
        elif key == "href" and value.startswith("#"):
            element.set(key, f"#{name}-{value[1:]}")
        elif key in ("style", "clip-path"):
            element.set(key, _adapted_style(value, name))
        else:
            element.set(key, value)


def _adapted_style(value: str, name: str) -> str:
    value = _REFERENCE.sub(rf"url(#{name}-\1)", value)
    value = _FONT.sub(lambda match: f"font-size: {match[1]}px" if match[1] else "", value)
    return _COLOUR.sub(lambda match: f"var(--{VARIABLES[match[0]]})", value).strip("; ")


def _remove_elements(root: ET.Element, tags: set[str]) -> None:
    for parent in list(root.iter()):
        for child in [child for child in parent if child.tag in tags]:
            parent.remove(child)


def _text_element(tag: str, identity: str, text: str) -> ET.Element:
    element = ET.Element(tag, {"id": identity})
    element.text = plain(text)
    return element


def note_line(text: str) -> Markup:
    """A line of text below a plot."""
    return Markup(f'<p class="note">{escape(plain(text))}</p>')  # noqa: S704 - escaped
