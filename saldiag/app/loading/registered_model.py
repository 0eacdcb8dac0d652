"""Registered models: built for the size of the images, on image-and-mask pairs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from saldiag.app.loading.batches import read_data
from saldiag.app.loading.compile import compile_for_diagnosis
from saldiag.app.loading.subject import Batches, OverfitData, Subject
from saldiag.app.session.collector import Collector
from saldiag.app.session.request import DataRequest, ModelRequest
from saldiag.core.errors import DataError, SaldiagError
from saldiag.core.files.fingerprints import FilesSeen
from saldiag.image_masks.msra10k import take_subset
from saldiag.image_masks.pipeline import INPUT_RANGE, load_arrays
from saldiag.image_masks.storage import Item
from saldiag.subject.models.registered import RegisteredModel
from saldiag.subject.source.layer_sources import recording_sources


def load_registered(
    model: ModelRequest, data: DataRequest, collector: Collector
) -> tuple[Subject, OverfitData]:
    """Read the data, then build the model for the size of its images.

    Raises:
        SaldiagError: the data cannot be read, or are not images with masks; or see
            ``build_registered``.
    """
    registered = model.spec.registered
    assert registered is not None
    with collector.phase("reading data"):
        if data.spec.kind == "pairs":
            found, size = read_pairs(data), data.sizes.image
        else:
            found, size = _as_pairs(model, data, registered)
    with collector.phase("building the model"):
        set_dtype_policy(model)
        rate = registered.learning_rate if model.learning_rate is None else model.learning_rate
        return build_registered(model, size, rate, collector.files), found


def set_dtype_policy(request: ModelRequest) -> None:
    """Seed everything, and set the dtype policy for the models built next."""
    keras.utils.set_random_seed(request.seed)
    keras.mixed_precision.set_global_policy(request.precision)


def build_registered(
    request: ModelRequest, image_size: int, learning_rate: Any, files: FilesSeen
) -> Subject:
    """Build and compile a registered model, recording the source line of every layer.

    Args:
        request: which model, with which weights and loss.
        image_size: side of the images, in pixels.
        learning_rate: a number or a Keras schedule.
        files: gets the user's files that the source lines are in.

    Raises:
        ModelError: the variant or the image size is not supported.
        WeightsError: the weights cannot be read or belong to another model.
        SaldiagError: there is no such loss; or there is not enough memory.
    """
    spec = request.spec
    registered = spec.registered
    assert registered is not None
    with recording_sources(files) as lines:
        try:
            built = registered.build(
                image_size, weights=request.weights, seed=request.seed, variant=spec.variant
            )
        except MemoryError as error:
            raise SaldiagError(
                f"not enough memory to build the model at {image_size}x{image_size}:"
                " try a smaller --image-size"
            ) from error
    compile_for_diagnosis(
        built.model,
        loss=request.loss or registered.loss,
        optimizer=request.optimizer,
        learning_rate=learning_rate,
        where=spec.text,
    )
    return Subject(
        built.model,
        lines.by_id(),
        built.origins,
        built.notes,
        expected_range=registered.input_range,
        name=spec.text,
        is_user_model=False,
    )


def read_pairs(request: DataRequest) -> OverfitData:
    """The pairs to memorise from the training split, and a batch of the validation split.

    Raises:
        DataError: the data set is missing, empty or damaged, or an image cannot be read.
    """
    sizes, splits = request.sizes, request.pairs.split(request.seed)
    chosen = take_subset(
        splits.train, request.subset_fraction, at_least=sizes.batch, seed=request.seed
    )
    held_out = take_subset(
        splits.val, request.subset_fraction, at_least=sizes.batch, seed=request.seed
    )
    shown = read_items(chosen[: request.items_of(len(chosen))], sizes.image, sizes.batch)
    return OverfitData(
        shown.batches,
        shown.names,
        shown.pixel_range,
        validation=read_items(held_out[: sizes.batch], sizes.image, sizes.batch).batches,
        subset_items=len(chosen),
        image_size=sizes.image,
    )


def read_items(items: Sequence[Item], image_size: int, batch_size: int) -> Batches:
    """Read pairs, in order, as batches of (images, masks): float32 (N, S, S, 3) and (N, S, S, 1).

    Raises:
        DataError: a file is missing or damaged.
    """
    if not items:
        return Batches(())
    images, masks = load_arrays(items, image_size)
    starts = range(0, len(items), batch_size)
    return Batches(
        tuple((images[i : i + batch_size], masks[i : i + batch_size]) for i in starts),
        tuple(item.stem for item in items),
        INPUT_RANGE,
    )


def _as_pairs(
    model: ModelRequest, request: DataRequest, registered: RegisteredModel
) -> tuple[OverfitData, int]:
    """Data in another format as image-and-mask batches, and their side in pixels."""
    data, _ = read_data(request, registered.input_spec())
    shapes = [tuple(leaf.shape) for leaf in keras.tree.flatten(data.batches[0])]
    side = shapes[0][1] if len(shapes[0]) == 4 else 0
    if [shape[1:] for shape in shapes] != [(side, side, 3), (side, side, 1)] or not side:
        given = " and ".join(str(shape) for shape in shapes)
        raise DataError(
            f"{request.spec.option} does not fit --model {model.spec.text}: the data has the"
            f" shapes {given}, the model takes (None, S, S, 3) with masks (None, S, S, 1)"
        )
    return data, side
