"""What a training run keeps on disk, to go on after a kill.

``checkpoints/best.keras`` is the whole model at its lowest validation loss (``best.weights.h5`` its
weights, where Keras cannot save the whole), and
``checkpoints/state.npz`` one file with everything that the next epoch depends on: the variables of
the model (the state of dropout's seed generators among them) and of the optimizer, and the history,
from which the early stopping follows. One file, renamed into place, is either the old epoch or the
new one.
"""

from __future__ import annotations

import json
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np

from saldiag.core.errors import RunError
from saldiag.core.files.jsonio import atomic_file, dumps, restore
from saldiag.core.files.run import Run
from saldiag.core.measurement import Array, TrainingHistory

FORMAT_VERSION = 1


@dataclass(frozen=True)
class EpochLog:
    """The scalars of one whole epoch, by name; ``epoch`` counts from 0, ``steps`` are batches."""

    epoch: int
    steps: int
    values: dict[str, float]


@dataclass(frozen=True)
class RunProgress:
    """How far a run has come. ``recipe`` is what it was started with."""

    recipe: dict[str, Any]
    logs: tuple[EpochLog, ...] = ()
    format: int = FORMAT_VERSION

    def after_epoch(self, steps: int, values: dict[str, float]) -> RunProgress:
        """The progress one epoch on."""
        return replace(self, logs=(*self.logs, EpochLog(len(self.logs), steps, values)))

    @property
    def steps(self) -> int:
        """Training steps so far."""
        return sum(log.steps for log in self.logs)

    @property
    def best(self) -> EpochLog | None:
        """The first epoch with the lowest validation loss, or None before there is one."""
        finite = [log for log in self.logs if np.isfinite(log.values.get("val_loss", np.nan))]
        return min(finite, key=lambda log: log.values["val_loss"], default=None)

    def patience_exhausted(self, patience: int) -> bool:
        """Whether ``patience`` epochs passed without a better one, as Keras' EarlyStopping."""
        since = self.best.epoch + 1 if self.best else 0
        return len(self.logs) - since >= patience

    def history(self) -> TrainingHistory:
        """The history as a measurement; a name that an epoch lacks is ``nan`` there."""
        names = tuple(sorted({name for log in self.logs for name in log.values}))
        rows = [[log.values.get(name, np.nan) for log in self.logs] for name in names]
        return TrainingHistory(
            names=names,
            epochs=np.array([log.epoch + 1 for log in self.logs], np.int64),
            values=np.array(rows, np.float64).reshape(len(names), len(self.logs)),
        )


class Checkpoints:
    """The checkpoints of a run directory."""

    def __init__(self, run: Run) -> None:
        self.folder = run.path / "checkpoints"
        self.state_path = self.folder / "state.npz"

    @property
    def best_path(self) -> Path:
        """The whole model, or its weights where Keras could not save the whole."""
        weights = self.folder / "best.weights.h5"
        return weights if weights.exists() else self.folder / "best.keras"

    def save_best(self, model: Any) -> None:
        """Write the whole model, with its optimizer; or its weights, where Keras cannot save it.

        That is a model with arguments that Keras does not know how to write down.

        Raises:
            RunError: it cannot be written; the former best model is still there.
        """
        with _write_errors(self.best_path):
            self.folder.mkdir(parents=True, exist_ok=True)
            # Keras insists on the suffix, and wants to write to a path of its own.
            with tempfile.TemporaryDirectory(dir=self.folder, prefix=".best-") as folder:
                written = _save_model(model, Path(folder))
                written.replace(self.folder / written.name)

    def save_state(self, model: Any, progress: RunProgress) -> None:
        """Write the state after a whole epoch.

        Raises:
            RunError: it cannot be written; the former state is still there.
        """
        arrays = {
            name: _as_npy_dtype(keras.ops.convert_to_numpy(v))
            for name, v in _state_variables(model).items()
        }
        with _write_errors(self.state_path), atomic_file(self.state_path, "wb") as stream:
            np.savez(stream, allow_pickle=False, progress=np.array(dumps(progress)), **arrays)

    def load_state(
        self, model: Any, accept: Callable[[RunProgress], None] = lambda _: None
    ) -> RunProgress | None:
        """Put a compiled model and its optimizer into the state on disk; None if there is none.

        ``accept`` may refuse what was found, before the model is touched.

        Raises:
            RunError: the file is damaged, or belongs to another model; the model is as it was.
        """
        if not self.state_path.is_file():
            return None
        # numpy leaves a file open that it cannot read, hence the stream.
        with _read_errors(self.state_path), self.state_path.open("rb") as stream:
            stored = dict(np.load(stream, allow_pickle=False))
            progress = restore(RunProgress, json.loads(str(stored.pop("progress"))))
        assert isinstance(progress, RunProgress)
        accept(progress)
        variables = _state_variables(model)
        self._check_variables(variables, stored, progress)
        for name, variable in variables.items():
            variable.assign(_as_variable_dtype(stored[name], variable))
        return progress

    def _check_variables(
        self, variables: dict[str, Any], arrays: dict[str, Array], progress: RunProgress
    ) -> None:
        if progress.format != FORMAT_VERSION:
            raise RunError(f"{self.state_path}: written by another version of saldiag")
        if len(variables) != len(arrays):
            raise RunError(
                f"{self.state_path}: belongs to another model"
                f" ({len(arrays)} variables there, {len(variables)} here)"
            )
        for name, variable in variables.items():
            there = arrays[name].shape if name in arrays else None
            if there != tuple(variable.shape):
                raise RunError(
                    f"{self.state_path}: belongs to another model"
                    f" ({variable.path} is {there} there, {tuple(variable.shape)} here)"
                )


def _save_model(model: Any, folder: Path) -> Path:
    try:
        model.save(folder / "best.keras")
        return folder / "best.keras"
    except (NotImplementedError, ValueError, TypeError):
        model.save_weights(folder / "best.weights.h5")
        return folder / "best.weights.h5"


def _state_variables(model: Any) -> dict[str, Any]:
    """Everything that a training step reads and writes, in the order of its creation."""
    groups = {"model": model.variables, "optimizer": model.optimizer.variables}
    return {
        f"{group}.{index}": variable
        for group, variables in groups.items()
        for index, variable in enumerate(variables)
    }


def _as_npy_dtype(array: Array) -> Array:
    """The array with a dtype that ``.npy`` files know: bfloat16 goes as its bits."""
    return array.view(np.uint16) if array.dtype.name == "bfloat16" else array


def _as_variable_dtype(array: Array, variable: Any) -> Array:
    dtype = keras.ops.convert_to_numpy(variable).dtype
    return array.view(dtype) if dtype.name == "bfloat16" else array


@contextmanager
def _write_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, RuntimeError) as error:  # h5py says RuntimeError where the disk is full
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())[:200]
        raise RunError(
            f"{path}: cannot be written ({reason}): make room or choose another --out"
        ) from error


@contextmanager
def _read_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, TypeError, KeyError, EOFError, zipfile.BadZipFile) as error:
        reason = " ".join(str(error).split())[:200]
        raise RunError(
            f"{path}: cannot be read ({reason}): delete it to train from the start"
        ) from error
