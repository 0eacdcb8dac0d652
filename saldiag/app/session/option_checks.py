"""Options that the model and the data leave without a use are refused, not passed over."""

from __future__ import annotations

from saldiag.app.session.options import Options
from saldiag.core.errors import SaldiagError
from saldiag.subject.models.spec import DataName, ModelName


def refuse_unused(options: Options, model: ModelName, data: DataName) -> None:
    """Refuse the first option that nothing would read.

    Raises:
        SaldiagError: the message says what the option is for.
    """
    table = data.kind in ("npz", "csv", "tfrecord")
    pictures = data.kind in ("pairs", "classes", "tfrecord")
    built_in = model.kind == "built-in"
    useless = (
        (bool(options.inputs) and not table, "--inputs is for .npz, .csv and .tfrecord"),
        (options.target is not None and not table, "--target is for .npz, .csv and .tfrecord"),
        (bool(options.features) and data.kind != "tfrecord", "--features is for .tfrecord"),
        (options.image_size is not None and not pictures, "--image-size is for files of pictures"),
        (options.pixels != "auto" and not pictures, "--pixels is for files of pictures"),
        (options.pixels != "auto" and built_in, "--pixels is for a model of your own"),
        (bool(options.custom_objects) and model.kind != "file", "--custom-objects is for files"),
        (options.unsafe_load and model.kind != "file", "--unsafe-load is for .keras and .h5 files"),
        (
            options.precision != "float32" and model.kind == "file",
            f"--precision {options.precision} cannot change a model from a file: build it by code",
        ),
    )
    for refused, why in useless:
        if refused:
            raise SaldiagError(f"{why} (here: --model {options.model}, {_shown(data)})")


def _shown(data: DataName) -> str:
    return str(data) if data.code else f"--data {data}"
