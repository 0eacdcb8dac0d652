"""Refuses options that have no effect on this model and data, instead of ignoring them."""

from __future__ import annotations

from saldiag.app.session.options import Options
from saldiag.core.errors import SaldiagError
from saldiag.subject.models.spec import DataSpec, ModelSpec


def refuse_unused(options: Options, model: ModelSpec, data: DataSpec) -> None:
    """Refuse the first option that would have no effect.

    Raises:
        SaldiagError: an option has no effect; the message says what it applies to.
    """
    table = data.kind in ("npz", "csv", "tfrecord")
    images = data.kind in ("pairs", "classes", "tfrecord")
    registered = model.registered is not None
    saved = model.path is not None
    checks = (
        (bool(options.inputs) and not table, "--inputs is for .npz, .csv and .tfrecord"),
        (options.target is not None and not table, "--target is for .npz, .csv and .tfrecord"),
        (bool(options.features) and data.kind != "tfrecord", "--features is for .tfrecord"),
        (options.image_size is not None and not images, "--image-size is for image files"),
        (options.pixels != "auto" and not images, "--pixels is for image files"),
        (options.pixels != "auto" and registered, "--pixels is for your own model"),
        (bool(options.custom_objects) and not saved, "--custom-objects is for saved models"),
        (options.unsafe_load and not saved, "--unsafe-load is for .keras and .h5 files"),
        (
            options.precision != "float32" and saved,
            f"--precision {options.precision} cannot change a saved model: build it in code",
        ),
    )
    for has_no_effect, explanation in checks:
        if has_no_effect:
            raise SaldiagError(f"{explanation} (here: --model {options.model}, {data.option})")
