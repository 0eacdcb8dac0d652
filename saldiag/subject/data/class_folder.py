"""Images in one folder per class, listed as Keras' ``image_dataset_from_directory`` does."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from saldiag.core.errors import DataError
from saldiag.core.wording import printable
from saldiag.subject.data.class_labels import labels_for_loss
from saldiag.subject.data.image_format import ImageFormat
from saldiag.subject.data.items import Batch, Items
from saldiag.subject.models.input_spec import InputSpec


def open_class_folder(path: Path, image_format: ImageFormat, spec: InputSpec) -> Items:
    """The images below ``path`` with their class labels; an image is loaded when it is read.

    Args:
        path: a folder with one subfolder per class.
        image_format: size, channels and pixel range of the model's input.
        spec: the model's output and loss.

    Raises:
        DataError: there are no images, fewer than two classes, or more classes than the model
            predicts.
    """
    where = printable(path)
    try:
        listed = keras.utils.image_dataset_from_directory(
            path, shuffle=False, batch_size=None, verbose=False
        )
    except (ValueError, OSError) as error:
        raise DataError(f"{where}: {printable(' '.join(str(error).split()))}") from error
    files, classes = listed.file_paths, listed.class_names
    numbers = np.array([classes.index(_class_name(path, file)) for file in files])
    labels, notes = labels_for_loss(numbers, classes, spec, where)

    def read_batch(chosen: Sequence[int]) -> Batch:
        images = np.stack([_load_image(files[i], image_format) for i in chosen])
        return images, labels[list(chosen)]

    def file_name(i: int) -> str:
        return str(Path(files[i]).relative_to(path))

    return Items(len(files), read_batch, file_name, notes=(*notes, *image_format.notes))


def _class_name(root: Path, file: str) -> str:
    return Path(file).relative_to(root).parts[0]


def _load_image(file: str, image_format: ImageFormat) -> Any:
    modes = {1: "grayscale", 3: "rgb", 4: "rgba"}
    try:
        image = keras.utils.load_img(
            file,
            color_mode=modes[image_format.channels],
            target_size=image_format.size,
            interpolation="bilinear",
        )
    except Exception as error:  # Pillow's plugins raise many types for a damaged file
        raise DataError(f"{printable(file)}: damaged, or not an image") from error
    return image_format.scale_pixels(keras.utils.img_to_array(image))
