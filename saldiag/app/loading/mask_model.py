"""A trained model of any origin as a function from images to masks."""

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
"""How far outside of [0, 1] a mask may be: rounding in half precision."""


@dataclass(frozen=True)
class ModelInput:
    """An image at the model's input size."""

    pixels: Array
    """The pixels, float32 (H, W, C), in the model's range."""
    size: tuple[int, int]
    """Height and width of the upright image in its file, in pixels."""


@dataclass(frozen=True)
class MaskModel:
    """A model that predicts one number per pixel, and how to prepare images for it."""

    model: Any
    """The Keras model."""
    frame: ImageFormat
    """Size, channels and range of the images that it takes."""
    where: str
    """Name of the model in messages."""
    decodes_as_trained: bool = False
    """Whether images are decoded as in the training of registered models; other models get
    Pillow's bilinear resizing, as in ``saldiag train``."""

    def prepare_image(self, image: Ref) -> ModelInput:
        """Read an image: upright, with the model's channels, at the model's size.

        Raises:
            DataError: the file is missing or damaged; the message names it.
        """
        content = image.read()
        size = upright_size(image, content)
        height, width = self.frame.size
        if self.decodes_as_trained and self.frame.pixel_range == INPUT_RANGE:
            return ModelInput(read_image(image, content, height), size)
        with open_picture(image, content) as picture:
            upright = ImageOps.exif_transpose(picture).convert(_MODES[self.frame.channels])
            pixels = np.asarray(upright.resize((width, height), Image.Resampling.BILINEAR))
        shaped = pixels.reshape(height, width, self.frame.channels)
        return ModelInput(self.frame.scale_pixels(shaped), size)

    def predict_masks(self, inputs: Sequence[ModelInput]) -> Array:
        """Masks of a batch: float32 (N, H, W) in [0, 1], at the model's size, in inference mode.

        Raises:
            ModelError: the model cannot be called on the images, or its output is not one number
                in [0, 1] per pixel.
            SaldiagError: there is not enough memory.
        """
        batch = np.stack([one.pixels for one in inputs])
        try:
            outputs = self.model.predict_on_batch(batch)
        except (MemoryError, tf.errors.ResourceExhaustedError) as error:
            raise SaldiagError(
                f"not enough memory for {len(inputs)} images of {batch.shape[1]}x"
                f"{batch.shape[2]}: try a smaller --batch-size or --image-size"
            ) from error
        except (ValueError, TypeError, tf.errors.OpError) as error:
            text = " ".join(str(error).split())[:300]
            raise ModelError(f"{self.where}: cannot be called on {batch.shape} ({text})") from error
        return _checked_masks(outputs, len(inputs), self.where)


def _checked_masks(outputs: Any, count: int, where: str) -> Array:
    """``outputs`` as float32 (N, H, W).

    Raises:
        ModelError: they are not ``count`` masks with values in [0, 1].
    """
    leaves = keras.tree.flatten(outputs)
    shapes = ", ".join(str(tuple(leaf.shape)) for leaf in leaves)
    if len(leaves) != 1 or not _is_mask_shape(leaves[0].shape) or leaves[0].shape[0] != count:
        raise ModelError(
            f"{where}: returns {shapes}; a mask needs one number a pixel, (N, H, W, 1)"
        )
    masks = np.asarray(leaves[0], np.float32).reshape(leaves[0].shape[:3])
    low, high = float(np.min(masks)), float(np.max(masks))
    if not np.isfinite([low, high]).all():
        raise ModelError(f"{where}: returns NaN or infinity, which cannot be written as a mask")
    if low < -_TOLERANCE or high > 1 + _TOLERANCE:
        raise ModelError(
            f"{where}: returns values from {low:.3g} to {high:.3g}, outside [0, 1]: end the model"
            " with a sigmoid"
        )
    return np.clip(masks, 0.0, 1.0)


def _is_mask_shape(shape: Sequence[int | None]) -> bool:
    return len(shape) == 3 or (len(shape) == 4 and shape[-1] == 1)


def predicts_masks(model: Any) -> bool:
    """Whether a model declares a single output of one number per pixel; the range is unknown."""
    outputs = keras.tree.flatten(getattr(model, "outputs", None) or [])
    return len(outputs) == 1 and _is_mask_shape(outputs[0].shape)


def as_mask_model(
    model: Any, *, image_size: int | None, pixels: str, where: str, trained_at: int | None = None
) -> MaskModel:
    """Find out how to prepare images for a model, from its input shape and its training.

    Args:
        model: a Keras model, compiled or not.
        image_size: side of the images in pixels; None for the model's own.
        pixels: range of the pixel values, a value of ``--pixels``.
        where: name of the model in messages.
        trained_at: side in pixels that a model of any size was trained at; None if unknown.

    Raises:
        ModelError: the model does not return masks, does not take images of this size, or is
            registered and does not support ``image_size``.
    """
    outputs = keras.tree.flatten(getattr(model, "outputs", None) or [])
    if outputs and not predicts_masks(model):
        shapes = ", ".join(str(tuple(output.shape)) for output in outputs)
        raise ModelError(
            f"{where}: returns {shapes}; a mask needs one number a pixel, (N, H, W, 1)"
        )
    registered = builder_of(model)
    if registered is not None:
        if image_size is not None and image_size != model.input_shape[1]:
            registered.check_image_size(image_size)
            model = _model_at_size(model, image_size)
        pixels = "signed" if pixels == "auto" else pixels
    default = trained_at or choose_sizes(None, None).image
    try:
        frame = image_format_for(input_spec_of(model), image_size, default, pixels)
    except DataError as error:
        raise ModelError(f"{where}: {error}") from error
    return MaskModel(model, frame, where, decodes_as_trained=registered is not None)


def _model_at_size(model: Any, side: int) -> Any:
    """The same functional model with the same weights, for inputs of another height and width."""
    made = type(model).from_config(_config_at_size(model.get_config(), side))
    made.set_weights(model.get_weights())
    return made


def _config_at_size(config: Any, side: int) -> Any:
    """A model's config in which every input layer has that side, and nothing is built yet."""
    if isinstance(config, dict):
        found = {
            name: _config_at_size(v, side) for name, v in config.items() if name != "build_config"
        }
        if "batch_shape" in found:
            found["batch_shape"] = [None, side, side, *found["batch_shape"][3:]]
        return found
    if isinstance(config, (list, tuple)):
        return type(config)(_config_at_size(value, side) for value in config)
    return config
