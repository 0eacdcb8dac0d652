"""What trains, against what is expected to train."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any

import keras

from saldiag.app.api import diagnose
from saldiag.core.errors import ModelError
from saldiag.core.measurement import TrainableRow, TrainableStatus
from saldiag.keras_internals.layers import flattened_layers, own_non_trainable_variables
from saldiag_probes.network.trainability import measure_trainable
from saldiag_probes.trace.paths import layer_paths, variable_paths
from saldiag_probes.trace.recorder import CannotMeasure
from saldiag_reports.content.wording import plain


def trainable_status(model: Any, batch: Any, loss: Any, optimizer: Any) -> TrainableStatus:
    """Flags of every variable; with a batch also what one training step does to it.

    Raises:
        ModelError: the model has no variables yet and there is no batch, or it cannot be called.
    """
    if not isinstance(model, keras.Model):
        raise ModelError(f"assert_trainable takes a Keras model, not {type(model).__name__}")
    if batch is None:
        try:
            return measure_trainable(model)
        except CannotMeasure as error:
            raise ModelError(error.reason) from error
    with warnings.catch_warnings():
        # Where warnings are errors this one would end the step that is to show just that.
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
    model: Any, status: TrainableStatus, expected: Any, *, stepped: bool
) -> list[str]:
    """What is not as expected, a line each."""
    if isinstance(expected, int) and not isinstance(expected, bool):
        amount = status.trainable_parameters
        off = [f"{amount:,} parameters are trainable, not {expected:,}"]
        listed = [row for row in status.rows if row.in_model]
        return [*(off if amount != expected else []), *_untrained_problems(listed, stepped)]
    wishes = _expectations(expected)
    paths = {id(layer): path for path, layer in _layers_by_path(model).items()}
    found = dict.fromkeys(range(len(wishes)), False)
    problems: list[str] = []
    meant: list[TrainableRow] = []
    statistics = _statistics_paths(model)
    for row in (row for row in status.rows if row.path not in statistics):
        fitting = [key for key, (what, _) in enumerate(wishes) if _matches(row, what, paths)]
        found.update(dict.fromkeys(fitting, True))
        if not fitting:
            continue
        wanted = wishes[fitting[-1]][1]
        if wanted != row.in_model:
            problems.append(f"{plain(row.path)} {_flag_problem(row)}")
        elif wanted:
            meant.append(row)
    nothing = [
        f"{_pattern_text(wishes[key][0])} fits no weight" for key, seen in found.items() if not seen
    ]
    return [*nothing, *problems, *_untrained_problems(meant, stepped)]


def _expectations(expected: Any) -> list[tuple[Any, bool]]:
    if isinstance(expected, Mapping):
        return [(what, bool(wanted)) for what, wanted in expected.items()]
    single = isinstance(expected, (str, keras.layers.Layer)) or not isinstance(expected, Iterable)
    return [(what, True) for what in ([expected] if single else expected)]


def _layers_by_path(model: Any) -> dict[str, Any]:
    by_id = {id(layer): layer for layer in flattened_layers(model)}
    return {path: by_id[key] for key, path in layer_paths(model).items()}


def _matches(row: TrainableRow, what: Any, paths: Mapping[int, str]) -> bool:
    if isinstance(what, str):
        return any(fnmatchcase(name, what) for name in _row_names(row))
    path = paths.get(id(what))
    return path is not None and (path == "" or f"{row.layer}/".startswith(f"{path}/"))


def _row_names(row: TrainableRow) -> Iterator[str]:
    """Path of the variable; paths and names of its layer and of all layers around that."""
    yield row.path
    parts = row.layer.split("/") if row.layer else []
    for depth in range(len(parts), 0, -1):
        yield "/".join(parts[:depth])
        yield parts[depth - 1]


def _statistics_paths(model: Any) -> set[str]:
    """Paths of what no gradient is meant to train: statistics and seeds."""
    paths = variable_paths(model)
    held = [v for layer in flattened_layers(model) for v in own_non_trainable_variables(layer)]
    return {paths[id(variable)][1] for variable in held if id(variable) in paths}


def _flag_problem(row: TrainableRow) -> str:
    if row.in_model:
        return "is trainable, and is expected not to be"
    if row.layer_flag and not row.parents_flag:
        return "is not trainable: a layer around it is frozen"
    return "is not trainable: its layer is frozen"


def _untrained_problems(rows: Iterable[TrainableRow], stepped: bool) -> Iterator[str]:
    """Which of the trainable ones a training step leaves alone, and why."""
    for row in rows if stepped else ():
        name = plain(row.path)
        if row.has_gradient is None:
            yield f"{name}: no training step could be taken, so it is not known whether it trains"
        elif not row.has_gradient:
            yield f"{name} is trainable, and gets no gradient"
        elif row.changed is False:
            yield f"{name} is trainable, and a training step does not change it"


def _pattern_text(what: Any) -> str:
    return plain(repr(what) if isinstance(what, str) else str(getattr(what, "name", what)))
