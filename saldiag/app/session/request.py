"""The parsed command line, which the loaders and commands work on.

``parse_request`` is the only place that parses the specs of model and data, so each is parsed once
a run. The data set behind ``--data`` is opened once, and the sizes that depend on the hardware are
chosen once. Nothing here imports TensorFlow before ``sizes`` is read.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from saldiag.app.session.option_checks import refuse_unused
from saldiag.app.session.options import DEFAULT_SUBSET, Options, Pixels, Precision, has_gpu
from saldiag.core.errors import SaldiagError
from saldiag.image_masks.msra10k import PairedDataset, open_dataset
from saldiag.subject.models.spec import (
    CodeReference,
    DataSpec,
    ModelSpec,
    parse_code_reference,
    parse_data_spec,
    parse_model_spec,
)
from saldiag.subject.program.backend import code_files, tensorflow_instead


@dataclass(frozen=True)
class Sizes:
    """Sizes of images and batches, as given or by hardware."""

    image: int
    """Side of square images, in pixels, for models that take any size."""
    batch: int
    """Items in a batch."""
    memorised: int
    """Items that the overfit test memorises by default."""


def choose_sizes(image_size: int | None, batch_size: int | None) -> Sizes:
    """The given sizes, or those of the hardware: a verdict on two cores takes two minutes.

    Args:
        image_size: side in pixels; None to choose.
        batch_size: items in a batch; None to choose.
    """
    gpu = has_gpu()
    image, batch = (224, 32) if gpu else (96, 8)
    batch = batch_size or batch
    return Sizes(image_size or image, batch, batch * (16 if gpu else 1))


@dataclass(frozen=True)
class ModelRequest:
    """Which model to load, and how to compile it."""

    spec: ModelSpec
    """The parsed ``--model``."""
    weights: str = "auto"
    """See ``Options.weights``."""
    custom_objects: tuple[str, ...] = ()
    """See ``Options.custom_objects``."""
    unsafe_load: bool = False
    """Whether code in a saved model may run."""
    loss: str | None = None
    """Loss to compile with; None for the model's own."""
    optimizer: str | None = None
    """Optimizer to compile with; None for the model's own."""
    learning_rate: float | None = None
    """Learning rate to compile with; None for the optimizer's own."""
    precision: Precision = "float32"
    """Global dtype policy to build under."""
    seed: int = 0
    """Seed of weights and of everything random."""


@dataclass
class _Opened:
    """What a request has opened or chosen so far; copies made by ``replace`` share it."""

    sizes: Sizes | None = None
    """The chosen sizes; None before the first use."""
    pairs: PairedDataset | None = None
    """The opened data set; None before the first use."""


@dataclass(frozen=True)
class DataRequest:
    """Which data to read, and how much of them."""

    spec: DataSpec
    """The parsed ``--data``."""
    subset: float | None = None
    """Fraction of the items, or of the batches of a stream; None if not given."""
    items: int | None = None
    """Items to memorise: 0 for all of the subset; None to choose by hardware."""
    image_size: int | None = None
    """Side of square images, in pixels, as given."""
    batch_size: int | None = None
    """Items in a batch, as given."""
    inputs: tuple[str, ...] = ()
    """Columns or arrays that are inputs; empty to find out."""
    target: str | None = None
    """Column or array that is the target; None to find out."""
    features: tuple[str, ...] = ()
    """Features of a TFRecord, ``NAME:SHAPE:DTYPE``."""
    pixels: Pixels = "auto"
    """Range of pixel values that the model expects."""
    seed: int = 0
    """Seed of split and order."""

    _opened: _Opened = field(default_factory=_Opened, repr=False, compare=False)

    @property
    def sizes(self) -> Sizes:
        """The sizes, chosen once. Imports TensorFlow."""
        if self._opened.sizes is None:
            self._opened.sizes = choose_sizes(self.image_size, self.batch_size)
        return self._opened.sizes

    @property
    def pairs(self) -> PairedDataset:
        """The image-and-mask pairs behind ``spec``, opened once.

        Raises:
            DataError: the data set is missing, empty or damaged.
        """
        if self._opened.pairs is None:
            self._opened.pairs = open_dataset(self.spec.path)
        return self._opened.pairs

    @property
    def subset_fraction(self) -> float:
        """Fraction of the items to use if their number is known: ``subset`` or its default."""
        return DEFAULT_SUBSET if self.subset is None else self.subset

    @property
    def wanted_items(self) -> int:
        """How many items to memorise if the number of items is not known."""
        return self.items or self.sizes.memorised

    def items_of(self, subset_items: int) -> int:
        """How many of ``subset_items`` items the overfit test memorises."""
        if self.items == 0:
            return subset_items
        return min(self.wanted_items, subset_items)


@dataclass(frozen=True)
class Request:
    """The request of a command: options, model and data."""

    options: Options
    """The command line as given: how long, how much, what to print."""
    model: ModelRequest
    """Which model to load."""
    data: DataRequest
    """Which data to read."""
    notes: tuple[str, ...] = ()
    """What to print before the command begins, one line each."""


def parse_request(options: Options) -> Request:
    """Parse the command line's strings, and refuse what cannot be meant.

    Raises:
        ModelError: no such model.
        DataError: the data set is missing, empty or damaged.
        SaldiagError: an option has no effect on this model and these data, or the model needs
            another backend of Keras.
    """
    model, data = _model_request(options), _data_request(options)
    request = Request(options, model, data, _backend_notes(options, model, data))
    refuse_unused(options, request.model.spec, request.data.spec)
    if request.data.spec.kind == "pairs" and request.data.spec.path is not None:
        _ = request.data.pairs  # a damaged data set is reported before TensorFlow is imported
    return request


def _backend_notes(options: Options, model: ModelRequest, data: DataRequest) -> tuple[str, ...]:
    objects = [CodeReference("--custom-objects", name, "") for name in options.custom_objects]
    named = (
        parse_code_reference(f"--{name}", text, SaldiagError)
        for name, text in (("loss", options.loss), ("optimizer", options.optimizer))
        if text is not None
    )
    code = [one for one in (model.spec.code, data.spec.code, *named, *objects) if one is not None]
    line = tensorflow_instead("the model", code_files(code), keep=options.backend == "keep")
    return (line,) if line else ()


def _model_request(options: Options) -> ModelRequest:
    return ModelRequest(
        spec=parse_model_spec(options.model),
        weights=options.weights,
        custom_objects=options.custom_objects,
        unsafe_load=options.unsafe_load,
        loss=options.loss,
        optimizer=options.optimizer,
        learning_rate=options.learning_rate,
        precision=options.precision,
        seed=options.seed,
    )


def _data_request(options: Options) -> DataRequest:
    return DataRequest(
        spec=parse_data_spec(options.data),
        subset=options.subset,
        items=options.items,
        image_size=options.image_size,
        batch_size=options.batch_size,
        inputs=options.inputs,
        target=options.target,
        features=options.features,
        pixels=options.pixels,
        seed=options.seed,
    )
