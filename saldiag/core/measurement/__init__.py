"""Measurements, which probes return: plain numbers, without thresholds or tensors.

Each probe has one measurement type. A measurement is a frozen dataclass; its fields hold numbers,
text, tuples of rows and numpy arrays. A value that could not be measured is ``nan`` (a number) or
``None`` (anything else), never zero. ``Measurements`` is the set that a run collected, with the
reason for each one that is missing.

Layers are named by *path*: the names of the layers from the model down, joined by ``/``
(``encoder/bir_1/expand``); the model itself is the empty path. A *call* is one use of a layer; the
second use of the same layer in one forward pass has the call path ``encoder/shared#2``. Variables
are named by their layer's path and their own name (``encoder/bir_1/expand/kernel``).

A new measurement is one class, in one of these modules: it is re-exported from here and added to
``TYPES`` automatically.
"""

# ruff: noqa: F403 - each module's public names are re-exported; a list of them would be a second one

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from saldiag.core.measurement.base import *
from saldiag.core.measurement.base import Array, Measurement
from saldiag.core.measurement.data import *
from saldiag.core.measurement.data import LossCheck
from saldiag.core.measurement.distribution import *
from saldiag.core.measurement.environment import *
from saldiag.core.measurement.evaluation import *
from saldiag.core.measurement.experiments import *
from saldiag.core.measurement.network import *
from saldiag.core.measurement.training import *
from saldiag.core.measurement.validation import *

TYPES: dict[str, type[Measurement]] = {
    kind.key: kind
    for kind in sorted(Measurement.__subclasses__(), key=lambda kind: (kind.position, kind.key))
}
"""Every measurement type by its key, in the order in which a run lists what is missing."""

CHANGED_BY_ITSELF = "it depends on its own state"
"""End of the reason why there is no ``LossCheck`` if the loss of one batch changes by the call."""

M = TypeVar("M", bound=Measurement)


@dataclass(frozen=True)
class Measurements:
    """The measurements of a run, and why others are missing."""

    found: Mapping[str, Measurement] = field(default_factory=dict)
    """Measurements by key, in the order in which they were made."""
    missing: Mapping[str, str] = field(default_factory=dict)
    """Reason, in one line, for each missing measurement by key."""

    @classmethod
    def of(
        cls, *measurements: Measurement, missing: Mapping[str, str] | None = None
    ) -> Measurements:
        """Collect measurements under their keys."""
        return cls({m.key: m for m in measurements}, dict(missing or {}))

    def get(self, kind: type[M]) -> M | None:
        """The measurement of that type, or ``None``."""
        value = self.found.get(kind.key)
        return value if isinstance(value, kind) else None

    def need(self, kind: type[M]) -> M:
        """The measurement of that type.

        Raises:
            LookupError: it was not made; the message is the reason.
        """
        value = self.get(kind)
        if value is None:
            raise LookupError(self.reason(kind))
        return value

    def reason(self, kind: type[Measurement]) -> str:
        """Why that measurement is missing."""
        return self.missing.get(kind.key, f"{kind.key} not measured by this command")

    def with_(self, *measurements: Measurement) -> Measurements:
        """A copy with more measurements; a later one replaces an earlier one of its type."""
        found = {**self.found, **{m.key: m for m in measurements}}
        missing = {key: why for key, why in self.missing.items() if key not in found}
        return Measurements(found, missing)

    def without(self, kind: type[Measurement], reason: str) -> Measurements:
        """A copy in which that measurement is missing for ``reason``."""
        found = {key: m for key, m in self.found.items() if key != kind.key}
        return Measurements(found, {**self.missing, kind.key: reason})

    @property
    def changing_loss(self) -> str:
        """What shows that the loss depends on its own state; empty if nothing does.

        Losses of different steps cannot be compared then.
        """
        reason = self.missing.get(LossCheck.key, "")
        return reason if CHANGED_BY_ITSELF in reason else ""

    def __iter__(self) -> Iterator[Measurement]:
        return iter(self.found.values())


def arrays_of(measurement: Measurement) -> dict[str, Array]:
    """The fields of a measurement that are numpy arrays."""
    values = {f.name: getattr(measurement, f.name) for f in dataclasses.fields(measurement)}
    return {name: value for name, value in values.items() if isinstance(value, np.ndarray)}
