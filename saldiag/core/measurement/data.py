"""Of the data and the loss: facts, baselines, the loss recomputed, predictions to look at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from saldiag.core.measurement.base import Array, Measurement


@dataclass(frozen=True)
class TensorFacts:
    """Facts of one input, target or prediction tensor over the measured batches."""

    name: str
    shape: tuple[int | None, ...]
    dtype: str
    minimum: float
    maximum: float
    mean: float
    std: float
    nan_share: float
    sample_variation: float
    distinct: int
    """Distinct values seen, counted up to 1,000."""


@dataclass(frozen=True)
class Baselines:
    """The loss of predictions that do not look at the input.

    ``constant`` is the best single number for every element, ``independent`` the best fixed
    prediction per element (the mean or median target, whichever the loss likes better).
    ``metric`` names the loss they are measured in.
    """

    metric: str
    constant: float
    constant_value: float
    independent: float
    independent_kind: str


@dataclass(frozen=True)
class DataFacts(Measurement):
    """What goes in, what should come out, what comes out; and the baselines."""

    key: ClassVar[str] = "data"
    inputs: tuple[TensorFacts, ...]
    targets: tuple[TensorFacts, ...]
    predictions: tuple[TensorFacts, ...]
    baselines: Baselines | None
    samples: int
    expected_range: tuple[float, float] | None = None
    """What the pretrained encoder expects of its input, where that is known."""
    no_baselines: str | None = None
    """Why ``baselines`` is None, in one line."""


@dataclass(frozen=True)
class LossCheck(Measurement):
    """The loss as Keras reports it against the same loss recomputed from the plain predictions.

    Keras takes logits that an activation left behind on its output, so a fault of the head can
    hide from the loss. ``regularization`` is subtracted from ``reported`` before comparing.
    ``in_order`` is the loss of the plain predictions, unweighted, and ``rolled`` the same after
    each sample was given its neighbour's target; nan where targets and predictions have the same
    rank.

    ``at_targets`` is the loss of predictions that are the targets, ``around_targets`` that of
    predictions a little off them, on the side of the plain predictions and on the other one, and
    ``against_targets`` that of the plain predictions themselves; ``against_others`` is the lowest
    and the highest loss of the plain predictions where other targets stand in for the given ones.
    All unweighted; nan, or empty, where targets and predictions are not of one shape.
    """

    key: ClassVar[str] = "loss_check"
    loss: str
    reported: float
    recomputed: float
    regularization: float
    reported_training: float
    recomputed_training: float
    in_order: float = float("nan")
    rolled: float = float("nan")
    against_targets: float = float("nan")
    at_targets: float = float("nan")
    around_targets: tuple[float, ...] = ()
    against_others: tuple[float, ...] = ()


@dataclass(frozen=True)
class Predictions(Measurement):
    """A few samples to look at.

    ``images`` (N, H, W, 3) in [0, 1], ``targets`` and ``predictions`` (N, H, W, 1) as they are.
    """

    key: ClassVar[str] = "predictions"
    names: tuple[str, ...]
    images: Array
    targets: Array
    predictions: Array
