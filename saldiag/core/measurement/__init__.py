"""What a probe returns: plain numbers, without a threshold and without a tensor.

Each probe has one measurement type. A measurement is a frozen dataclass; its fields hold numbers,
text, tuples of rows and numpy arrays. A quantity that could not be had is ``nan`` (a number) or
``None`` (anything else), never zero. ``Measurements`` is the set that a run collected, with the
reason for each one that is missing.

Layers are named by *path*: the names of the layers from the model down, joined by ``/``
(``encoder/bir_1/expand``); the model itself is the empty path. A *call* is one use of a layer; the
second use of the same layer in one forward pass has the call path ``encoder/shared#2``. Variables
are named by their layer's path and their own name (``encoder/bir_1/expand/kernel``).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from saldiag.core.measurement.base import Array, Measurement, Source
from saldiag.core.measurement.data import (
    Baselines,
    DataFacts,
    ItemFacts,
    LossCheck,
    MaskGreys,
    MaskPairing,
    Predictions,
    TensorFacts,
)
from saldiag.core.measurement.environment import (
    During,
    ForeignObject,
    ForeignObjects,
    ProgramError,
    ProgramPlaces,
    RecordedWarning,
    Seeds,
    SourceFile,
    SourceFiles,
    WarningLog,
)
from saldiag.core.measurement.evaluation import DatasetScores, HeldOutScores, MaskScores
from saldiag.core.measurement.experiments import Arm, Curve, Experiments
from saldiag.core.measurement.network import (
    ActivationRow,
    Activations,
    BlockedOperation,
    Cast,
    DtypeRow,
    DtypeTrace,
    FlowRow,
    GradientFlow,
    IgnoredOutput,
    LayerCall,
    LostConstant,
    Origin,
    OutputLoss,
    UncalledLayer,
    UntrackedWeights,
    VariableGradient,
    Wiring,
    WrappedIntegers,
)
from saldiag.core.measurement.training import (
    GradientHistory,
    Histograms,
    NormalizationRow,
    OverfitHistory,
    PlannedCallback,
    RangeTest,
    TrainableRow,
    TrainableStatus,
    TrainingHistory,
    TrainingPlan,
    VariableInfo,
)
from saldiag.core.measurement.validation import (
    ActedCallback,
    Correction,
    InputComparison,
    StatisticsRow,
    ValidationCheck,
)

TYPES: dict[str, type[Measurement]] = {
    kind.key: kind
    for kind in (
        Wiring, GradientHistory, GradientFlow, DtypeTrace, TrainableStatus, Activations, DataFacts,
        LossCheck, OverfitHistory, WarningLog, Histograms, Predictions, TrainingHistory,
        ItemFacts, TrainingPlan, ForeignObjects, RangeTest, Seeds, ProgramPlaces,
        ProgramError, SourceFiles, Experiments, ValidationCheck, HeldOutScores,
    )
}  # fmt: skip

M = TypeVar("M", bound=Measurement)


@dataclass(frozen=True)
class Measurements:
    """All that a run measured, and why the rest is missing."""

    found: Mapping[str, Measurement] = field(default_factory=dict)
    missing: Mapping[str, str] = field(default_factory=dict)

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
        """Why the measurement of that type is missing."""
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

    def __iter__(self) -> Iterator[Measurement]:
        return iter(self.found.values())


def arrays_of(measurement: Measurement) -> dict[str, Array]:
    """The fields of a measurement that are numpy arrays."""
    values = {f.name: getattr(measurement, f.name) for f in dataclasses.fields(measurement)}
    return {name: value for name, value in values.items() if isinstance(value, np.ndarray)}


__all__ = [
    "TYPES",
    "ActedCallback",
    "ActivationRow",
    "Activations",
    "Arm",
    "Array",
    "Baselines",
    "BlockedOperation",
    "Cast",
    "Correction",
    "Curve",
    "DataFacts",
    "DatasetScores",
    "DtypeRow",
    "DtypeTrace",
    "During",
    "Experiments",
    "FlowRow",
    "ForeignObject",
    "ForeignObjects",
    "GradientFlow",
    "GradientHistory",
    "HeldOutScores",
    "Histograms",
    "IgnoredOutput",
    "InputComparison",
    "ItemFacts",
    "LayerCall",
    "LossCheck",
    "LostConstant",
    "MaskGreys",
    "MaskPairing",
    "MaskScores",
    "Measurement",
    "Measurements",
    "NormalizationRow",
    "Origin",
    "OutputLoss",
    "OverfitHistory",
    "PlannedCallback",
    "Predictions",
    "ProgramError",
    "ProgramPlaces",
    "RangeTest",
    "RecordedWarning",
    "Seeds",
    "Source",
    "SourceFile",
    "SourceFiles",
    "StatisticsRow",
    "TensorFacts",
    "TrainableRow",
    "TrainableStatus",
    "TrainingHistory",
    "TrainingPlan",
    "UncalledLayer",
    "UntrackedWeights",
    "ValidationCheck",
    "VariableGradient",
    "VariableInfo",
    "WarningLog",
    "Wiring",
    "WrappedIntegers",
    "arrays_of",
]
