"""What has to be changed in the user's code, as plain data: one argument of one call."""

from __future__ import annotations

from dataclasses import dataclass

from saldiag.core.measurement.base import Source

Plain = str | float | bool | None
"""What an argument's literal can be."""

COMPILE = "compile"


@dataclass(frozen=True)
class Edit:
    """One argument of one call: what was measured of it, and what it has to be.

    ``call`` is the class of the layer that is made at ``source``, and ``layer`` its path; or it is
    ``compile``. With ``within`` it is the class of what the ``compile`` at ``source`` is given as
    that argument (``optimizer``, ``loss``). ``new`` is Python text, in which ``keras.`` at the
    start stands for Keras, whatever the program calls it.
    """

    source: Source
    call: str
    argument: str
    old: Plain
    new: str
    layer: str = ""
    within: str = ""
