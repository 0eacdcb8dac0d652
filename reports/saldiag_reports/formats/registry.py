"""The table of printed formats: the values of ``--format``.

A format is one file in ``saldiag_reports/formats/printed/``. Its name is the file's name, and it
declares itself in a constant ``FORMAT``. Another package adds a format by an entry point of the
group ``saldiag.formats``, in its ``pyproject.toml``::

    [project.entry-points."saldiag.formats"]
    my-format = "my_package.saldiag:MY_FORMAT"

The object is a ``PrintedFormat``. Listing the names imports none of the formats, so ``--help`` is
fast.
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

from saldiag.core.errors import SaldiagError
from saldiag_reports.formats import printed

if TYPE_CHECKING:
    from saldiag_reports.formats.printed_run import PrintedFormat

GROUP = "saldiag.formats"
"""Name of the entry-point group."""


def format_names() -> tuple[str, ...]:
    """Names of all printed formats, sorted; imports none of them."""
    registered = {point.name for point in entry_points(group=GROUP)}
    return tuple(sorted({*_built_in_names(), *registered}))


@cache
def load_format(name: str) -> PrintedFormat:
    """The printed format of that name. A built-in format hides a registered one.

    Raises:
        SaldiagError: there is none, or the package that registered it cannot be imported.
    """
    if name in _built_in_names():
        module = importlib.import_module(f"{printed.__name__}.{name}")
        declared: PrintedFormat = module.FORMAT
        return declared
    points = tuple(entry_points(group=GROUP, name=name))
    if not points:
        raise SaldiagError(f"no format {name!r}: choose one of {', '.join(format_names())}")
    try:
        registered: PrintedFormat = points[0].load()
    except (ImportError, AttributeError) as error:
        value = points[0].value
        raise SaldiagError(f"--format {name}: {value} cannot be loaded ({error})") from error
    return registered


def _built_in_names() -> frozenset[str]:
    return frozenset(module.name for module in pkgutil.iter_modules(printed.__path__))
