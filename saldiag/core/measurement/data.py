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
    single: bool = False
    """Of several values along the last axis never more than one is other than 0."""
    constant: tuple[int, ...] | None = None
    """Columns of a float table (samples, up to 1,000 columns) that are one number in all samples;
    None of any other tensor."""


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
class MaskPairing:
    """Whether masks lie on the edges of their own pictures, or of other pictures of the set.

    ``own`` is the share of masks whose best picture is their own, picture and mask each being the
    other's best; ``other`` the share of those whose best is another one's; ``turned`` the share of
    such pairs, own or not, after all masks were turned by half: what chance makes of masks like
    these.
    """

    masks: int
    own: float
    other: float
    turned: float


@dataclass(frozen=True)
class MaskGreys:
    """Values strictly between 0 and 1 in targets that are 0 or 1 nearly everywhere.

    ``share`` is that of all values; ``between`` the share of them with both a 0 and a 1 near by (in
    the 5x5 values around), as interpolation leaves them; ``faint`` the share that lies within 0.06
    of 0 or 1, as JPEG leaves them.
    """

    masks: int
    share: float
    between: float
    faint: float


@dataclass(frozen=True)
class ItemFacts(Measurement):
    """What a program hands to ``fit``, item by item, as far as it was read.

    ``source`` is ``arrays``, ``dataset``, or ``batches`` where only some batches are known.
    ``batches`` are those of one pass, ``batch_size`` the largest of them. ``shared`` counts the
    validation items whose input and target stand among the ``read`` training items as well,
    ``repeated`` the training items that equal an earlier one, and ``values`` is the number of
    distinct values in the inputs of an item (median, among 4,096 numbers of each). ``changes``
    counts the neighbours in the order of training that are of different classes,
    ``expected_changes`` how many a random order has on average; ``mixture`` is the share of pairs
    of different classes within a batch (median) over that among all items. ``reordered`` says that
    ``fit`` draws an order of its own.
    """

    key: ClassVar[str] = "items"
    source: str
    read: int
    whole: bool
    batches: int | None = None
    endless: bool | None = None
    batch_size: int | None = None
    steps_per_epoch: int | None = None
    reordered: bool | None = None
    validation: int = 0
    shared: int | None = None
    repeated: int | None = None
    values: float = float("nan")
    classes: int | None = None
    changes: float = float("nan")
    expected_changes: float = float("nan")
    mixture: float = float("nan")
    class_counts: tuple[tuple[int, int], ...] = ()
    """Classes among the training items that were read, and how many items each has."""
    validation_class_counts: tuple[tuple[int, int], ...] = ()
    """The same among the validation items: all of them where they are arrays, else some."""
    pairing: MaskPairing | None = None
    greys: MaskGreys | None = None


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
