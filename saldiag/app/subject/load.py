"""From options to a subject: data, model, loss and optimizer, with source lines and warnings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from saldiag.app.session.option_checks import refuse_unused
from saldiag.app.session.options import Options, memorised_items, sizes
from saldiag.core.errors import ModelError, SaldiagError
from saldiag.core.measurement import Origin, Source
from saldiag.subject.models import spec as specs
from saldiag.subject.models.spec import ModelName

if TYPE_CHECKING:
    from saldiag.image_masks.storage import Item

PICTURES = 4
"""Predictions shown in the report."""

BUILT_IN = ("quicksal", "quicksal-as-reported")


def parse_model(spec: str) -> ModelName:
    """Read ``--model``, whose built-in names are ``quicksal`` and ``quicksal-as-reported``.

    Raises:
        ModelError: no such model, file or folder, or faults for a model that has none.
    """
    name = specs.parse_model(spec, BUILT_IN)
    if name.faults is not None and name.name != "quicksal-as-reported":
        raise ModelError(f"--model {spec}: only quicksal-as-reported takes faults after the colon")
    return name


def check_inputs(options: Options) -> None:
    """Refuse what cannot be meant, before TensorFlow is imported.

    Raises:
        ModelError: no such model.
        DataError: the data set is missing, empty or damaged.
        SaldiagError: an option that this model and these data leave without a use.
    """
    from saldiag.image_masks.msra10k import open_dataset

    model, data = parse_model(options.model), specs.parse_data(options.data)
    refuse_unused(options, model, data)
    if data.kind == "pairs" and data.path is not None:
        open_dataset(data.path)


@dataclass(frozen=True)
class Batches:
    """Batches (x, y) to look at, and the names of their samples where those are wanted.

    ``pixels`` is the range of the inputs' numbers where they are pictures in colour whose targets
    are masks, which a report can show.
    """

    batches: tuple[tuple[Any, ...], ...]
    names: tuple[str, ...] = ()
    pixels: tuple[float, float] | None = None


@dataclass(frozen=True)
class Data(Batches):
    """The items to memorise, and what they were taken from; a batch of others to validate with.

    ``fed`` is what the program hands to ``fit``, where it is known and can be read again.
    """

    validation: tuple[tuple[Any, ...], ...] = ()
    subset_items: int = 0
    image_size: int | None = None
    fed: Any = None


@dataclass(frozen=True)
class Subject:
    """A compiled model with what is known of it.

    ``name`` is what the user calls it, the model's own name where that is None. ``sources`` are by
    ``id(layer)``; ``expected_range`` is what a pretrained encoder expects of its input; ``notes``
    are lines for the user.
    """

    model: Any
    sources: dict[int, Source] = field(default_factory=dict)
    origins: tuple[Origin, ...] = ()
    notes: tuple[str, ...] = ()
    expected_range: tuple[float, float] | None = None
    name: str | None = None


def load_data(options: Options) -> Data:
    """Open a data set of pairs and read the items that a built-in model memorises.

    Raises:
        DataError: the data set is missing, empty, damaged, or an item of it cannot be read.
    """
    from saldiag.image_masks.msra10k import open_dataset, take_subset

    dataset = open_dataset(Path(options.data) if options.data is not None else None)
    image_size, batch_size = sizes(options)
    splits = dataset.split(options.seed)
    chosen = take_subset(splits.train, options.share, at_least=batch_size, seed=options.seed)
    held_out = take_subset(splits.val, options.share, at_least=batch_size, seed=options.seed)
    memorised = chosen[: memorised_items(options, batch_size, len(chosen))]
    shown = read_items(memorised, image_size, batch_size)
    return Data(
        shown.batches,
        shown.names,
        shown.pixels,
        validation=read_items(held_out[:batch_size], image_size, batch_size).batches,
        subset_items=len(chosen),
        image_size=image_size,
    )


def read_items(items: Sequence[Item], image_size: int, batch_size: int) -> Batches:
    """Read items, in order, as numpy arrays.

    Raises:
        DataError: an item is missing or damaged.
    """
    from saldiag.image_masks.pipeline import INPUT_RANGE, load_arrays

    if not items:
        return Batches(())
    images, masks = load_arrays(items, image_size)
    starts = range(0, len(items), batch_size)
    return Batches(
        tuple((images[i : i + batch_size], masks[i : i + batch_size]) for i in starts),
        tuple(item.stem for item in items),
        INPUT_RANGE,
    )


def set_policy(options: Options) -> None:
    """Seed everything and set the dtype policy for the models built next."""
    import keras

    keras.utils.set_random_seed(options.seed)
    keras.mixed_precision.set_global_policy(options.precision)


def build_model(options: Options, image_size: int) -> tuple[Any, tuple[str, ...]]:
    """Build the model that ``--model`` and ``--weights`` name; also the lines to tell the user.

    Raises:
        ModelError: no such model or fault, or an image size that the model cannot take.
        WeightsError: the weights cannot be read or belong to another model.
    """
    from saldiag.quicksal.pretrained.weights import load_encoder_weights

    name = parse_model(options.model)
    weights = load_encoder_weights(options.weights)
    notes = (weights.note,) if weights.note else ()
    return _construct(name, image_size, weights, options.seed), notes


def _construct(name: ModelName, image_size: int, weights: Any, seed: int) -> Any:
    if name.name == "quicksal":
        from saldiag.quicksal.model import quicksal

        return quicksal(image_size, weights=weights, seed=seed)
    from saldiag.quicksal.as_reported import FAULTS, quicksal_as_reported

    faults = FAULTS if name.faults is None else name.faults
    return quicksal_as_reported(faults, image_size, weights=weights, seed=seed)


def load_subject(options: Options, image_size: int) -> Subject:
    """Seed, set the dtype policy, and build the subject; see ``build_subject``."""
    set_policy(options)
    rate = 1e-3 if options.learning_rate is None else options.learning_rate
    return build_subject(options, image_size, rate)


def build_subject(options: Options, image_size: int, learning_rate: Any) -> Subject:
    """Build and compile the model, noting the source line of every layer.

    ``learning_rate`` is a number or a Keras schedule.

    Raises:
        SaldiagError: see ``build_model``; or no such loss.
    """
    from saldiag.app.subject.compile import settle
    from saldiag.image_masks.pipeline import INPUT_RANGE
    from saldiag.quicksal.pretrained.origins import weight_origins
    from saldiag.subject.source.layer_sources import recording_sources

    with recording_sources() as lines:
        try:
            model, notes = build_model(options, image_size)
        except MemoryError as error:
            raise SaldiagError(
                f"not enough memory to build the model at {image_size}x{image_size}:"
                " try a smaller --image-size"
            ) from error
    settle(
        model, loss=options.loss or "mae", optimizer=options.optimizer,
        learning_rate=learning_rate, where=options.model,
    )  # fmt: skip
    return Subject(model, lines.by_id(), weight_origins(model), notes, INPUT_RANGE, options.model)
