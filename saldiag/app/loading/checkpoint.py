"""CHECKPOINT on the command line: a model file, a run of ``saldiag train``, or code.

Finding it imports no TensorFlow; ``load_checkpoint`` does.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from saldiag.core.errors import ModelError, RunError
from saldiag.core.files.run import Run
from saldiag.core.wording import printable
from saldiag.subject.models.spec import (
    MODEL_FILES,
    CodeReference,
    is_saved_model,
    parse_code_reference,
)

OPTION = "CHECKPOINT"
ACCEPTED_CHECKPOINTS = (
    "a run of saldiag train, a .keras or .h5 file, a SavedModel folder, FILE.py:FUNCTION"
)


@dataclass(frozen=True)
class Checkpoint:
    """Where a trained model is: a file or folder, or code that returns it."""

    path: Path | None = None
    """The file or folder; None if ``code`` returns the model."""
    code: CodeReference | None = None
    """The function that returns the model; None if it is in ``path``."""
    image_size: int | None = None
    """Side of the images in pixels, as a run of ``saldiag train`` recorded it; None if unknown."""
    pixels: str = "auto"
    """Range of the pixel values, as such a run recorded it; ``auto`` if unknown."""

    def __str__(self) -> str:
        return str(self.code) if self.code else f"{OPTION} {printable(self.path or '')}"


def find_checkpoint(spec: str) -> Checkpoint:
    """Parse CHECKPOINT and find its file; loads nothing.

    Raises:
        ModelError: there is no such file or folder, or it holds no model.
        RunError: it is a run without a checkpoint.
    """
    path = Path(spec)
    if (path / "run.json").is_file():
        return _checkpoint_of_run(path)
    if path.is_dir():
        if is_saved_model(path) or ((path / "config.json").is_file() and path.suffix == ".keras"):
            return Checkpoint(path)
        raise ModelError(
            f"{OPTION} {printable(path)}: no model in this folder; give {ACCEPTED_CHECKPOINTS}"
        )
    code = parse_code_reference(OPTION, spec, ModelError)
    if code is not None and not path.is_file():
        return Checkpoint(code=code)
    if not path.exists():
        raise ModelError(
            f"{OPTION} {printable(spec)}: no such file or folder; give {ACCEPTED_CHECKPOINTS}"
        )
    if path.suffix.lower() not in MODEL_FILES:
        raise ModelError(f"{OPTION} {printable(spec)}: not a model; give {ACCEPTED_CHECKPOINTS}")
    return Checkpoint(path)


def _checkpoint_of_run(path: Path) -> Checkpoint:
    info = Run.open(path).read_info()
    where = f"{OPTION} {printable(path)}"
    if info.made_by() != "train":
        raise RunError(
            f"{where}: a run of saldiag {printable(info.made_by())}, which keeps no checkpoint:"
            " give a run of saldiag train"
        )
    folder = path / "checkpoints"
    if not (folder / "best.keras").is_file():
        if (folder / "best.weights.h5").is_file():
            raise RunError(
                f"{where}: holds only best.weights.h5, because Keras can't save this model whole:"
                " give FILE.py:FUNCTION that builds the model and loads these weights"
            )
        raise RunError(
            f"{where}: has no checkpoints/best.keras: the training ended before its first epoch was"
            " complete; saldiag train --resume continues it"
        )
    size, pixels = info.config.get("image_size"), info.config.get("pixels")
    return Checkpoint(
        folder / "best.keras",
        image_size=size if isinstance(size, int) else None,
        pixels=pixels if isinstance(pixels, str) else "auto",
    )


def load_checkpoint(found: Checkpoint, custom_objects: tuple[str, ...], *, unsafe: bool) -> Any:
    """Load the Keras model, not necessarily compiled.

    Args:
        found: the checkpoint.
        custom_objects: modules or files with the classes that a saved model names.
        unsafe: whether code in a saved model may run.

    Raises:
        ModelError: the file is damaged, needs classes that are not named or code that is not
            allowed, or holds no Keras model.
    """
    import keras

    from saldiag.subject.models.keras_files import load_keras_file
    from saldiag.subject.models.saved_model import load_saved_model
    from saldiag.subject.models.user_code import evaluate_reference, load_custom_objects

    objects = load_custom_objects(custom_objects, ModelError)
    if found.code is not None:
        model = evaluate_reference(found.code, ModelError)
        if not isinstance(model, keras.Model):
            raise ModelError(f"{found.code}: returns {type(model).__name__}, not a Keras 3 model")
        return model
    assert found.path is not None
    if is_saved_model(found.path):
        return load_saved_model(found.path, unsafe=unsafe, option=OPTION)
    return load_keras_file(found.path, objects, unsafe=unsafe, compiled=False, option=OPTION)
