"""Pictures in a folder for each class, as Keras' ``image_dataset_from_directory`` lists them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from saldiag.core.errors import DataError
from saldiag.core.wording import printable
from saldiag.subject.data.class_labels import as_labels
from saldiag.subject.data.image_format import Frame
from saldiag.subject.data.items import Batch, Items
from saldiag.subject.models.input_spec import InputSpec


def open_classes(path: Path, frame: Frame, takes: InputSpec) -> Items:
    """The pictures below ``path`` with the number of their class, read when they are wanted.

    Args:
        path: a folder of folders.
        frame: how the model takes pictures.
        takes: what else it takes.

    Raises:
        DataError: there is no picture, fewer classes than two, or more than the model can tell.
    """
    where = printable(path)
    try:
        listed = keras.utils.image_dataset_from_directory(
            path, shuffle=False, batch_size=None, verbose=False
        )
    except (ValueError, OSError) as error:
        raise DataError(f"{where}: {printable(' '.join(str(error).split()))}") from error
    files, classes = listed.file_paths, listed.class_names
    numbers = np.array([classes.index(_class_of(path, file)) for file in files])
    y, told = as_labels(numbers, classes, takes, where)

    def read(chosen: Sequence[int]) -> Batch:
        return np.stack([_picture(files[i], frame) for i in chosen]), y[list(chosen)]

    def name(i: int) -> str:
        return str(Path(files[i]).relative_to(path))

    return Items(len(files), read, name, notes=(*told, *frame.notes))


def _class_of(root: Path, file: str) -> str:
    return Path(file).relative_to(root).parts[0]


def _picture(file: str, frame: Frame) -> Any:
    modes = {1: "grayscale", 3: "rgb", 4: "rgba"}
    try:
        picture = keras.utils.load_img(
            file, color_mode=modes[frame.channels], target_size=frame.size, interpolation="bilinear"
        )
    except Exception as error:  # Pillow's plugins raise whatever a damaged file drives them to
        raise DataError(f"{printable(file)}: damaged, or no picture") from error
    return frame.scaled(keras.utils.img_to_array(picture))
