"""A change of one argument of one call in the user's code, as plain data."""

from __future__ import annotations

from dataclasses import dataclass

from saldiag.core.measurement.base import Source

Plain = str | float | bool | None
"""Types of an argument's literal."""

COMPILE = "compile"


@dataclass(frozen=True)
class Edit:
    """One argument of one call: its measured value and its new one."""

    source: Source
    """Line of the call."""
    call: str
    """Class name that is called there (a layer, an optimizer, a loss), or ``compile``."""
    argument: str
    """Name of the argument."""
    old: Plain
    """Its value as measured; the literal in the code must equal it."""
    new: str
    """Its new value as Python code, in which a leading ``keras.`` stands for Keras under whatever
    name the program imports it."""
    layer: str = ""
    """Path of the layer that the call creates; empty for other calls."""
    within: str = ""
    """Argument of ``compile`` that the call is passed as (``optimizer``, ``loss``), in which case
    ``source`` is the line of ``compile``; empty for other calls."""
