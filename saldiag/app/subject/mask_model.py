"""A trained model as a function from pictures to masks, whatever checkpoint it comes from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from PIL import Image, ImageOps

from saldiag.app.session.request import choose_sizes
from saldiag.core.errors import DataError, ModelError, SaldiagError
from saldiag.image_masks.decode import open_picture, upright_size
from saldiag.image_masks.pipeline import INPUT_RANGE, read_image
from saldiag.image_masks.storage import Ref
from saldiag.subject.data.image_format import ImageFormat, image_format_for
from saldiag.subject.models.input_spec import input_spec_of
from saldiag.subject.models.registered import builder_of

Array = np.ndarray[Any, Any]

_MODES = {1: "L", 3: "RGB", 4: "RGBA"}
_TOLERANCE = 1e-3
"""How far outside [0, 1] rounding in half precision may take a mask."""


@dataclass(frozen=True)
class ModelInput:
    """A picture as the model takes it, and its own height and width in pixels, upright."""

    pixels: Array
    size: tuple[int, int]


@dataclass(frozen=True)
class MaskModel:
    """A model with one number a pixel, and how it takes pictures.

    ``as_trained`` says to decode as quicksal's training does; other models get Pillow's bilinear
    resizing, as ``saldiag train`` gives them.
    """

    model: Any
    frame: ImageFormat
    where: str
    as_trained: bool = False

    def read(self, image: Ref) -> ModelInput:
        """Read a picture: upright, in colour where the model wants colour, at the model's size.

        Raises:
            DataError: the file is missing or damaged; the message names it.
        """
        content = image.read()
        size = upright_size(image, content)
        height, width = self.frame.size
        if self.as_trained and self.frame.pixel_range == INPUT_RANGE:
            return ModelInput(read_image(image, content, height), size)
        with open_picture(image, content) as picture:
            upright = ImageOps.exif_transpose(picture).convert(_MODES[self.frame.channels])
            pixels = np.asarray(upright.resize((width, height), Image.Resampling.BILINEAR))
        shaped = pixels.reshape(height, width, self.frame.channels)
        return ModelInput(self.frame.scale_pixels(shaped), size)

    def masks(self, inputs: Sequence[ModelInput]) -> Array:
        """Masks of a batch: float32 (N, h, w) in [0, 1], at the model's size, in inference mode.

        Raises:
            ModelError: the model can't be called on pictures, or returns anything but one number
                in [0, 1] a pixel.
            SaldiagError: there is not enough memory.
        """
        batch = np.stack([one.pixels for one in inputs])
        try:
            outputs = self.model.predict_on_batch(batch)
        except (MemoryError, tf.errors.ResourceExhaustedError) as error:
            raise SaldiagError(
                f"not enough memory for {len(inputs)} pictures of {batch.shape[1]}x"
                f"{batch.shape[2]}: try a smaller --batch-size or --image-size"
            ) from error
        except (ValueError, TypeError, tf.errors.OpError) as error:
            text = " ".join(str(error).split())[:300]
            raise ModelError(f"{self.where}: cannot be called on {batch.shape} ({text})") from error
        return _checked(outputs, len(inputs), self.where)


def _checked(outputs: Any, count: int, where: str) -> Array:
    """``outputs`` as float32 (N, h, w), if they are masks."""
    leaves = keras.tree.flatten(outputs)
    shapes = ", ".join(str(tuple(leaf.shape)) for leaf in leaves)
    if len(leaves) != 1 or not _is_mask_shape(leaves[0].shape) or leaves[0].shape[0] != count:
        raise ModelError(
            f"{where}: returns {shapes}; a mask needs one number a pixel, (N, H, W, 1)"
        )
    masks = np.asarray(leaves[0], np.float32).reshape(leaves[0].shape[:3])
    low, high = float(np.min(masks)), float(np.max(masks))
    if not np.isfinite([low, high]).all():
        raise ModelError(f"{where}: returns NaN or infinity, so there's no mask to write")
    if low < -_TOLERANCE or high > 1 + _TOLERANCE:
        raise ModelError(
            f"{where}: returns values from {low:.3g} to {high:.3g}, outside [0, 1]: end the model"
            " in a sigmoid"
        )
    return np.clip(masks, 0.0, 1.0)


def _is_mask_shape(shape: Sequence[int | None]) -> bool:
    return len(shape) == 3 or (len(shape) == 4 and shape[-1] == 1)


def makes_masks(model: Any) -> bool:
    """Whether a model declares one output of one number a pixel; its range is not declared."""
    outputs = keras.tree.flatten(getattr(model, "outputs", None) or [])
    return len(outputs) == 1 and _is_mask_shape(outputs[0].shape)


def mask_model(
    model: Any, *, image_size: int | None, pixels: str, where: str, trained_at: int | None = None
) -> MaskModel:
    """How a model takes pictures, by its input shape and what is known of its training.

    Args:
        model: a Keras model; it needn't be compiled.
        image_size: the side that the user wants; None: the model's own.
        pixels: the range of the pictures' numbers, as ``--pixels`` says it.
        where: how to call the model.
        trained_at: the side it was trained at, for a model that takes any.

    Raises:
        ModelError: it returns no masks, or ``image_size`` doesn't suit quicksal.
        DataError: it takes no pictures, or not of that size.
    """
    outputs = keras.tree.flatten(getattr(model, "outputs", None) or [])
    if outputs and not makes_masks(model):
        shapes = ", ".join(str(tuple(output.shape)) for output in outputs)
        raise ModelError(
            f"{where}: returns {shapes}; a mask needs one number a pixel, (N, H, W, 1)"
        )
    registered = builder_of(model)
    if registered is not None:
        if image_size is not None and image_size != model.input_shape[1]:
            registered.check_image_size(image_size)
            model = _at_size(model, image_size)
        pixels = "signed" if pixels == "auto" else pixels
    default = trained_at or choose_sizes(None, None).image
    try:
        frame = image_format_for(input_spec_of(model), image_size, default, pixels)
    except DataError as error:
        raise ModelError(f"{where}: {error}") from error
    return MaskModel(model, frame, where, as_trained=registered is not None)


def _at_size(model: Any, side: int) -> Any:
    """The same functional model with the same weights, for inputs of another height and width."""
    made = type(model).from_config(_resized(model.get_config(), side))
    made.set_weights(model.get_weights())
    return made


def _resized(config: Any, side: int) -> Any:
    """A model's config in which every input layer has that side, and nothing is built yet."""
    if isinstance(config, dict):
        found = {name: _resized(v, side) for name, v in config.items() if name != "build_config"}
        if "batch_shape" in found:
            found["batch_shape"] = [None, side, side, *found["batch_shape"][3:]]
        return found
    if isinstance(config, (list, tuple)):
        return type(config)(_resized(value, side) for value in config)
    return config
