"""Comparing the trainable variables of a model with the expected ones."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any

import keras

from saldiag.app.api import diagnose
from saldiag.core.errors import ModelError
from saldiag.core.keras_types import KerasModel, KerasOptimizer
from saldiag.core.measurement import TrainableRow, TrainableStatus
from saldiag.core.wording import plain
from saldiag.keras_internals.layers import flattened_layers, own_non_trainable_variables
from saldiag_probes.network.trainability import measure_trainable
from saldiag_probes.trace.errors import CannotMeasure
from saldiag_probes.trace.paths import layer_paths, variable_paths


def trainable_status(
    model: KerasModel, batch: Any, loss: Any, optimizer: KerasOptimizer
) -> TrainableStatus:
    """Trainable flags of every variable and, with a batch, the effect of one training step.

    Args:
        model: a Keras model.
        batch: arrays to train on for one step; None to read the flags only.
        loss: loss to compile with; None for the model's own.
        optimizer: optimizer to compile with; None for the model's own.

    Raises:
        ModelError: the model has no variables yet and there is no batch, or it cannot be called.
    """
    if not isinstance(model, keras.Model):
        raise ModelError(f"assert_trainable expects a Keras model, not {type(model).__name__}")
    if batch is None:
        try:
            return measure_trainable(model)
        except CannotMeasure as error:
            raise ModelError(error.reason) from error
    with warnings.catch_warnings():
        # If warnings are errors, this one would end the step that is meant to find it out.
        warnings.filterwarnings("ignore", "Gradients do not exist")
        diagnosis = diagnose(
            model, batch, loss=loss, optimizer=optimizer, overfit=False, batches=1,
            select=("SD402",),
        )  # fmt: skip
    status = diagnosis.measured.get(TrainableStatus)
    if status is None:
        raise ModelError(diagnosis.measured.reason(TrainableStatus))
    return status


def unmet_expectations(
    model: KerasModel, status: TrainableStatus, expected: Any, *, stepped: bool
) -> list[str]:
    """Differences from the expectation, one line each.

    Args:
        model: the model.
        status: flags and effects of its variables.
        expected: see ``assert_trainable``.
        stepped: whether ``status`` contains the effect of a training step.
    """
    if isinstance(expected, int) and not isinstance(expected, bool):
        amount = status.trainable_parameters
        difference = [f"{amount:,} parameters are trainable, not {expected:,}"]
        trainable = [row for row in status.rows if row.in_model]
        return [
            *(difference if amount != expected else []),
            *_untrained_problems(trainable, stepped),
        ]
    expectations = _pattern_pairs(expected)
    paths = {id(layer): path for path, layer in _layers_by_path(model).items()}
    matched = dict.fromkeys(range(len(expectations)), False)
    problems: list[str] = []
    expected_rows: list[TrainableRow] = []
    statistics = _statistics_paths(model)
    for row in (row for row in status.rows if row.path not in statistics):
        matching = [
            key
            for key, (pattern, _) in enumerate(expectations)
            if _matches_pattern(row, pattern, paths)
        ]
        matched.update(dict.fromkeys(matching, True))
        if not matching:
            continue
        should_train = expectations[matching[-1]][1]
        if should_train != row.in_model:
            problems.append(f"{plain(row.path)} {_flag_problem(row)}")
        elif should_train:
            expected_rows.append(row)
    unmatched = [
        f"{_pattern_text(expectations[key][0])} matches no variable"
        for key, found in matched.items()
        if not found
    ]
    return [*unmatched, *problems, *_untrained_problems(expected_rows, stepped)]


def _pattern_pairs(expected: Any) -> list[tuple[Any, bool]]:
    """Pairs of a pattern (or layer) and whether it should be trainable, in order."""
    if isinstance(expected, Mapping):
        return [(pattern, bool(should_train)) for pattern, should_train in expected.items()]
    single = isinstance(expected, (str, keras.layers.Layer)) or not isinstance(expected, Iterable)
    return [(pattern, True) for pattern in ([expected] if single else expected)]


def _layers_by_path(model: KerasModel) -> dict[str, Any]:
    by_id = {id(layer): layer for layer in flattened_layers(model)}
    return {path: by_id[key] for key, path in layer_paths(model).items()}


def _matches_pattern(row: TrainableRow, pattern: Any, paths: Mapping[int, str]) -> bool:
    if isinstance(pattern, str):
        return any(fnmatchcase(name, pattern) for name in _row_names(row))
    path = paths.get(id(pattern))
    return path is not None and (path == "" or f"{row.layer}/".startswith(f"{path}/"))


def _row_names(row: TrainableRow) -> Iterator[str]:
    """Path of the variable, and the paths and names of the layers that contain it."""
    yield row.path
    parts = row.layer.split("/") if row.layer else []
    for depth in range(len(parts), 0, -1):
        yield "/".join(parts[:depth])
        yield parts[depth - 1]


def _statistics_paths(model: KerasModel) -> set[str]:
    """Paths of the variables that no gradient trains: running statistics and seeds."""
    paths = variable_paths(model)
    held = [v for layer in flattened_layers(model) for v in own_non_trainable_variables(layer)]
    return {paths[id(variable)][1] for variable in held if id(variable) in paths}


def _flag_problem(row: TrainableRow) -> str:
    if row.in_model:
        return "is trainable, but was expected to be frozen"
    if row.layer_flag and not row.parents_flag:
        return "is not trainable: a layer that contains it is frozen"
    return "is not trainable: its layer is frozen"


def _untrained_problems(rows: Iterable[TrainableRow], stepped: bool) -> Iterator[str]:
    """One line for each trainable variable that a training step does not train."""
    for row in rows if stepped else ():
        name = plain(row.path)
        if row.has_gradient is None:
            yield f"{name}: no training step could be run, so it is not known whether it trains"
        elif not row.has_gradient:
            yield f"{name} is trainable, but gets no gradient"
        elif row.changed is False:
            yield f"{name} is trainable, but a training step does not change it"


def _pattern_text(pattern: Any) -> str:
    is_text = isinstance(pattern, str)
    return plain(repr(pattern) if is_text else str(getattr(pattern, "name", pattern)))
