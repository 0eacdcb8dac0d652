"""Checkpoints of a training run, from which it resumes after a kill.

``checkpoints/best.keras`` is the model with the lowest validation loss (``best.weights.h5`` holds
its weights if Keras cannot save the model). ``checkpoints/state.npz`` holds everything that the
next epoch depends on: the variables of the model (including the state of dropout's seed generators)
and of the optimizer, and the history, which decides on early stopping. It is one file, renamed into
place: it always holds a whole epoch, the old one or the new one.
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
    """The logs of one whole epoch."""

    epoch: int
    """Number of the epoch, from 0."""
    steps: int
    """Training steps (batches) of the epoch."""
    values: dict[str, float]
    """Loss, metrics, ``val_…`` metrics and ``learning_rate`` by name."""


@dataclass(frozen=True)
class RunProgress:
    """The progress of a run: its settings and its whole epochs."""

    recipe: dict[str, Any]
    """The recipe's fields by name, as the run was started or last resumed with."""
    logs: tuple[EpochLog, ...] = ()
    """The logs of the whole epochs, in order."""
    format: int = FORMAT_VERSION
    """Version of the file format."""

    def after_epoch(self, steps: int, values: dict[str, float]) -> RunProgress:
        """The progress with one more epoch of so many steps and these logs."""
        return replace(self, logs=(*self.logs, EpochLog(len(self.logs), steps, values)))

    @property
    def steps(self) -> int:
        """Training steps so far."""
        return sum(log.steps for log in self.logs)

    @property
    def best(self) -> EpochLog | None:
        """The first epoch with the lowest finite ``val_loss``; None if there is none."""
        finite = [log for log in self.logs if np.isfinite(log.values.get("val_loss", np.nan))]
        return min(finite, key=lambda log: log.values["val_loss"], default=None)

    def patience_exhausted(self, patience: int) -> bool:
        """Whether ``patience`` epochs passed without a lower ``val_loss``, as in EarlyStopping."""
        since = self.best.epoch + 1 if self.best else 0
        return len(self.logs) - since >= patience

    def history(self) -> TrainingHistory:
        """The logs as a measurement; nan where an epoch lacks a name."""
        names = tuple(sorted({name for log in self.logs for name in log.values}))
        rows = [[log.values.get(name, np.nan) for log in self.logs] for name in names]
        return TrainingHistory(
            names=names,
            epochs=np.array([log.epoch + 1 for log in self.logs], np.int64),
            values=np.array(rows, np.float64).reshape(len(names), len(self.logs)),
        )


class Checkpoints:
    """Reads and writes the checkpoints of a run directory."""

    def __init__(self, run: Run) -> None:
        self.folder = run.path / "checkpoints"
        self.state_path = self.folder / "state.npz"

    @property
    def best_path(self) -> Path:
        """The best model's file: ``best.keras``, or ``best.weights.h5`` if that was written."""
        weights = self.folder / "best.weights.h5"
        return weights if weights.exists() else self.folder / "best.keras"

    def save_best(self, model: Any) -> None:
        """Write the model with its optimizer, or only its weights if Keras cannot save the model.

        Keras cannot save models whose constructor arguments it cannot serialize.

        Raises:
            RunError: it cannot be written; the former best model is kept.
        """
        with _write_errors(self.best_path):
            self.folder.mkdir(parents=True, exist_ok=True)
            # Keras insists on the suffix and on writing to a path, so a temporary name won't do.
            with tempfile.TemporaryDirectory(dir=self.folder, prefix=".best-") as folder:
                written = _save_model(model, Path(folder))
                written.replace(self.folder / written.name)

    def save_state(self, model: Any, progress: RunProgress) -> None:
        """Write the state after a whole epoch.

        Raises:
            RunError: it cannot be written; the former state is kept.
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
        """Restore a compiled model and its optimizer from disk.

        Args:
            model: the compiled model, with a built optimizer.
            accept: called with the progress that was found, before the model is touched; raises to
                refuse it.

        Returns:
            The progress; None if there is no state.

        Raises:
            RunError: the file is damaged or belongs to another model; the model is left unchanged.
        """
        if not self.state_path.is_file():
            return None
        # Opened here, because numpy would leave a file open that it cannot read.
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
            raise RunError(
                f"{self.state_path}: has format {progress.format} of another saldiag version, not"
                f" {FORMAT_VERSION}"
            )
        if len(variables) != len(arrays):
            raise RunError(
                f"{self.state_path}: belongs to another model: it holds {len(arrays)} variables,"
                f" this model has {len(variables)}"
            )
        for name, variable in variables.items():
            stored = arrays[name].shape if name in arrays else None
            if stored != tuple(variable.shape):
                raise RunError(
                    f"{self.state_path}: belongs to another model: {variable.path} has shape"
                    f" {stored} in it, {tuple(variable.shape)} in this model"
                )


def _save_model(model: Any, folder: Path) -> Path:
    """Write the model, or its weights, into a folder; returns the file."""
    try:
        model.save(folder / "best.keras")
        return folder / "best.keras"
    except (NotImplementedError, ValueError, TypeError):
        model.save_weights(folder / "best.weights.h5")
        return folder / "best.weights.h5"


def _state_variables(model: Any) -> dict[str, Any]:
    """All variables that a training step reads and writes, in the order of their creation."""
    groups = {"model": model.variables, "optimizer": model.optimizer.variables}
    return {
        f"{group}.{index}": variable
        for group, variables in groups.items()
        for index, variable in enumerate(variables)
    }


def _as_npy_dtype(array: Array) -> Array:
    """The array with a dtype that ``.npy`` files support: bfloat16 as its bits in uint16."""
    return array.view(np.uint16) if array.dtype.name == "bfloat16" else array


def _as_variable_dtype(array: Array, variable: Any) -> Array:
    """The inverse of ``_as_npy_dtype`` for the variable's dtype."""
    dtype = keras.ops.convert_to_numpy(variable).dtype
    return array.view(dtype) if dtype.name == "bfloat16" else array


@contextmanager
def _write_errors(path: Path) -> Iterator[None]:
    """Turn errors of writing into a ``RunError`` that names the file."""
    try:
        yield
    except (OSError, RuntimeError) as error:  # h5py says RuntimeError where the disk is full
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())[:200]
        raise RunError(
            f"{path}: cannot be written ({reason}): free disk space or choose another --out"
        ) from error


@contextmanager
def _read_errors(path: Path) -> Iterator[None]:
    """Turn errors of reading into a ``RunError`` that names the file."""
    try:
        yield
    except (OSError, ValueError, TypeError, KeyError, EOFError, zipfile.BadZipFile) as error:
        reason = " ".join(str(error).split())[:200]
        raise RunError(
            f"{path}: cannot be read ({reason}): delete it to train from the start"
        ) from error
