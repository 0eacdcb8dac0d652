"""From a matplotlib figure to an inline SVG that belongs in an HTML page.

Three decisions:

* ``svg.fonttype`` is ``none``: text stays text, so that layer names can be searched, copied and
  read aloud, and the file stays small. matplotlib lays out with DejaVu Sans, which is wider than
  nearly every system font, so what the browser puts in its place fits.
* Colours of the page (ink, grid, verdicts, line colours) are drawn as marker colours and become
  CSS variables, so that one picture suits light, dark and print.
* Figures are made without pyplot: no global figure list, no backend to choose, nothing to close.
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

from saldiag.core.wording import visible_text

WIDTH = 9.0
"""Width of every figure, in inches of 72 SVG units; the page scales it."""

INK, MUTED, GRID, PAPER = "#010101", "#010102", "#010103", "#010104"
TRAINING, INFERENCE, BATCH, CUT, NONE = "#010201", "#010202", "#010203", "#010204", "#010205"
GOOD = "#010206"
VARIABLES = {
    INK: "ink", MUTED: "muted", GRID: "grid", PAPER: "paper", TRAINING: "training",
    INFERENCE: "inference", BATCH: "batch", CUT: "cut", NONE: "none",
    GOOD: "good",
}  # fmt: skip
"""Marker colours and the CSS variables of the page that they stand for."""

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
def drawing() -> Iterator[None]:
    """Draw in the house style; matplotlib's settings are as before afterwards.

    A name in a script that DejaVu lacks is no news: the browser has the glyphs.
    """
    with mpl.rc_context(), warnings.catch_warnings():
        mpl.rcdefaults()  # the user's own matplotlibrc has no say in a report
        for key, value in STYLE.items():
            mpl.rcParams[key] = value  # type: ignore[index]
        warnings.filterwarnings("ignore", message=r"Glyph .* missing from font")
        warnings.filterwarnings("ignore", message=r"Matplotlib currently does not support")
        yield


def figure(height: float) -> Figure:
    """A figure of the page's width and ``height`` inches, with a canvas and no pyplot."""
    made = Figure(figsize=(WIDTH, height), layout="constrained")
    FigureCanvasAgg(made)
    return made


def inline(made: Figure, name: str, title: str, description: str) -> Markup:
    """The figure as an ``<svg>`` element.

    Args:
        made: the figure.
        name: prefix of every id in it; unique on the page.
        title: its accessible name, also shown as a tooltip by browsers.
        description: what it shows, in a sentence or two, for those who cannot see it.
    """
    buffer = io.StringIO()
    made.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    # Our own output, made in the line above: no foreign document is parsed.
    root = ET.fromstring(buffer.getvalue())  # noqa: S314
    for element in root.iter():
        _adopt(element, name)
    _drop(root, {"metadata", "style"})
    for attribute in ("width", "height", "version"):
        root.attrib.pop(attribute, None)
    root.attrib.update({"role": "img", "aria-labelledby": f"{name}-title {name}-desc"})
    root.insert(0, _labelled("desc", f"{name}-desc", description))
    root.insert(0, _labelled("title", f"{name}-title", title))
    # Every text in it went through ElementTree, which escapes it.
    return Markup(ET.tostring(root, encoding="unicode"))  # noqa: S704


def _adopt(element: ET.Element, name: str) -> None:
    """Make an element a citizen of the page: no namespaces, own ids, the page's colours."""
    element.tag = element.tag.rpartition("}")[2]
    attributes = {_ATTRIBUTES.get(key, key): value for key, value in element.attrib.items()}
    element.attrib.clear()
    for key, value in attributes.items():
        if key == "id":
            element.set(key, f"{name}-{value}")
        elif key == "href" and value.startswith("#"):
            element.set(key, f"#{name}-{value[1:]}")
        elif key in ("style", "clip-path"):
            element.set(key, _restyled(value, name))
        else:
            element.set(key, value)


def _restyled(value: str, name: str) -> str:
    value = _REFERENCE.sub(rf"url(#{name}-\1)", value)
    value = _FONT.sub(lambda found: f"font-size: {found[1]}px" if found[1] else "", value)
    return _COLOUR.sub(lambda found: f"var(--{VARIABLES[found[0]]})", value).strip("; ")


def _drop(root: ET.Element, tags: set[str]) -> None:
    for parent in list(root.iter()):
        for child in [child for child in parent if child.tag in tags]:
            parent.remove(child)


def _labelled(tag: str, identity: str, text: str) -> ET.Element:
    element = ET.Element(tag, {"id": identity})
    element.text = visible_text(text)
    return element


def note(text: str) -> Markup:
    """A line under a picture."""
    return Markup(f'<p class="note">{escape(visible_text(text))}</p>')  # noqa: S704 - escaped
