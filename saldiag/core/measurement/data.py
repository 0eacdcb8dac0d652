"""Measurements of data and loss: facts, baselines, the recomputed loss, sample predictions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from saldiag.core.measurement.base import Array, Measurement


@dataclass(frozen=True)
class TensorFacts:
    """Facts of one input, target or prediction tensor over the measured batches."""

    name: str
    """``input``, ``target`` or ``prediction``, followed by the path in a nested structure
    (``input/left``)."""
    shape: tuple[int | None, ...]
    """Shape; None for the batch axis and for axes that differ between batches, ``(None,)`` if the
    number of axes differs."""
    dtype: str
    """Name of the dtype; ``string`` for text, which has no numbers: the other facts are NaN."""
    minimum: float
    """Smallest value, NaN excluded; NaN if there is none."""
    maximum: float
    """Largest value, NaN excluded; NaN if there is none."""
    mean: float
    """Mean of the finite values; NaN if there is none."""
    std: float
    """Standard deviation of the finite values; NaN if there is none."""
    nan_share: float
    """Share of elements that are NaN, in [0, 1]; 0 for text, NaN for an empty tensor."""
    sample_variation: float
    """Standard deviation across the samples, averaged over the elements and divided by ``std``;
    0 if all samples are the same, NaN for one sample or samples of different shapes."""
    distinct: int
    """Distinct values seen, counted up to 1,000."""
    single: bool = False
    """Whether at most one of several values along the last axis is nonzero, as in one-hot rows."""
    constant: tuple[int, ...] | None = None
    """Indices of the columns of a float table (samples, 2 to 1,000 columns) that hold one number in
    all samples; None for any other tensor."""


@dataclass(frozen=True)
class Baselines:
    """Loss of the best predictions that ignore the input."""

    metric: str
    """Name of the loss that the baselines are measured in."""
    constant: float
    """Loss of the best single number for every element: mean or median of the targets, for class
    numbers equal probabilities."""
    constant_value: float
    """That number: a value in the targets' unit, or a probability."""
    independent: float
    """Loss of the best fixed prediction per element: mean or median over the samples, for class
    numbers the class frequencies. NaN if the samples differ in shape."""
    independent_kind: str
    """``mean``, ``median`` or ``frequencies``; ``none`` if there is no such prediction."""


@dataclass(frozen=True)
class DataFacts(Measurement):
    """Facts of inputs, targets and predictions over the first batches, and the baseline losses."""

    key: ClassVar[str] = "data"
    position: ClassVar[int] = 7
    inputs: tuple[TensorFacts, ...]
    """One entry for each input tensor."""
    targets: tuple[TensorFacts, ...]
    """One entry for each target tensor; empty without targets."""
    predictions: tuple[TensorFacts, ...]
    """One entry for each output tensor of the model in inference mode."""
    baselines: Baselines | None
    """Losses of predictions that ignore the input; None if they could not be computed."""
    samples: int
    """Number of samples in the measured batches."""
    expected_range: tuple[float, float] | None = None
    """Lowest and highest input value that the pretrained encoder expects; None if unknown."""
    no_baselines: str | None = None
    """Why ``baselines`` is None, in one line."""


@dataclass(frozen=True)
class LossCheck(Measurement):
    """The loss of one batch as Keras reports it, and recomputed from the plain predictions.

    Keras' cross-entropies use logits that an activation attached to its output, so a fault of the
    output layer can be invisible in the reported loss. Plain predictions carry no logits. The
    losses from ``in_order`` on are unweighted and measured in inference mode.
    """

    key: ClassVar[str] = "loss_check"
    position: ClassVar[int] = 8
    loss: str
    """Name of the loss, as in ``Wiring.loss``."""
    reported: float
    """Loss as Keras reports it in inference mode, regularization included."""
    recomputed: float
    """Loss of the plain predictions in inference mode, without regularization."""
    regularization: float
    """Regularization and ``add_loss`` terms in inference mode; to be subtracted from ``reported``
    before comparing. 0 if the model overrides ``compute_loss``."""
    reported_training: float
    """As ``reported``, in training mode."""
    recomputed_training: float
    """As ``recomputed``, in training mode."""
    in_order: float = float("nan")
    """Loss of the plain predictions; NaN if targets and predictions have the same rank."""
    rolled: float = float("nan")
    """The same after each sample received the target of the sample before it; NaN as above. Equal
    to ``in_order`` if broadcasting compares every sample with all targets."""
    against_targets: float = float("nan")
    """Loss of the plain predictions; NaN, as the fields below, unless targets and predictions
    have one shape."""
    at_targets: float = float("nan")
    """Loss of predictions that equal the targets."""
    around_targets: tuple[float, ...] = ()
    """Loss of predictions a quarter of the way from the targets to the plain predictions, and of
    those as far off on the other side; empty if NaN above."""
    against_others: tuple[float, ...] = ()
    """Lowest and highest loss of the plain predictions against other targets (rolled by one sample,
    range reversed, all set to the lowest); empty if NaN above or all targets are equal."""


@dataclass(frozen=True)
class MaskPairing:
    """How often the edges of a mask match its own picture best, and how often another picture.

    Mask and picture are a pair if each is the other's best match. Counted for masks that have an
    outline.
    """

    masks: int
    """Number of masks compared, at most 256."""
    own: float
    """Share of masks paired with their own picture, in [0, 1]."""
    other: float
    """Share of masks paired with another picture, in [0, 1]."""
    turned: float
    """Share of masks paired with any picture after all masks were rotated by 180 degrees: the level
    of chance, in [0, 1]."""


@dataclass(frozen=True)
class MaskGreys:
    """Values strictly between 0 and 1 in targets of which at least 70 % are 0 or 1."""

    masks: int
    """Number of masks examined, at most 256."""
    share: float
    """Share of all values that are between 0 and 1 (further than 0.001 from both)."""
    between: float
    """Share of those values with both a 0 and a 1 among the 5x5 values around, as interpolation
    leaves them; NaN if there are no such values."""
    faint: float
    """Share of those values within 0.06 of 0 or 1, as JPEG compression leaves them; NaN if there
    are no such values."""


@dataclass(frozen=True)
class ItemFacts(Measurement):
    """The items that a program passes to ``fit``, as far as they were read.

    At most 20,000 items are read, for at most a few seconds. Items are compared by a hash of their
    bytes.
    """

    key: ClassVar[str] = "items"
    position: ClassVar[int] = 14
    source: str
    """``arrays``, ``dataset`` (``tf.data.Dataset`` or ``PyDataset``), or ``batches`` if only some
    batches are known."""
    read: int
    """Number of training items read."""
    whole: bool
    """Whether all training items were read."""
    batches: int | None = None
    """Batches in one pass over the data; None if unknown."""
    endless: bool | None = None
    """Whether the data repeats without end; None if unknown."""
    batch_size: int | None = None
    """Items in the largest batch; None if unknown."""
    steps_per_epoch: int | None = None
    """``steps_per_epoch`` as passed to ``fit``; None if not passed."""
    reordered: bool | None = None
    """Whether ``fit`` shuffles the items itself; None if unknown."""
    validation: int = 0
    """Number of validation items read; 0 without validation."""
    shared: int | None = None
    """Validation items whose input and target also occur among the training items that were read;
    None without validation items or if items cannot be compared."""
    repeated: int | None = None
    """Training items that equal an earlier one; None for data that repeats without end."""
    values: float = float("nan")
    """Distinct values in the inputs of an item, among 4,096 numbers of it: median over up to 64
    items; NaN if unknown."""
    classes: int | None = None
    """Number of classes in the items read; None if the targets are no classes or only batches are
    known."""
    changes: float = float("nan")
    """Adjacent items, in training order, of different classes; NaN as ``classes`` is None."""
    expected_changes: float = float("nan")
    """Expected value of ``changes`` for items in random order; NaN as above."""
    mixture: float = float("nan")
    """Share of item pairs of different classes within a batch (median over the batches), divided
    by the same share among all items; NaN as above, and for one class."""
    class_counts: tuple[tuple[int, int], ...] = ()
    """Pairs (class, number of items) of the training items that were read; empty without classes
    and for more than 1,000."""
    validation_class_counts: tuple[tuple[int, int], ...] = ()
    """The same for the validation items: for all of them if they are arrays, else for those
    read."""
    pairing: MaskPairing | None = None
    """How masks match their pictures; None if the data is not pictures with masks."""
    greys: MaskGreys | None = None
    """Intermediate values in masks; None if the data is not pictures with masks."""


@dataclass(frozen=True)
class Predictions(Measurement):
    """Images, masks and predictions of a few samples, for the report."""

    key: ClassVar[str] = "predictions"
    position: ClassVar[int] = 12
    names: tuple[str, ...]
    """Name of each sample (N)."""
    images: Array
    """Inputs as images (N, H, W, 3), in [0, 1]."""
    targets: Array
    """Targets (N, H, W, 1), in the model's unit."""
    predictions: Array
    """Predictions in inference mode (N, H, W, 1), in the model's unit."""
