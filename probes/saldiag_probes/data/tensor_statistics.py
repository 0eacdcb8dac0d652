"""Statistics of inputs, targets and predictions, and the loss of predictions that ignore the input.

The statistics are gathered batch by batch. The baselines are the loss of the best constant and of
the best fixed prediction: a model whose loss is not below them has learned nothing from its input.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from saldiag.core.keras_types import BatchLike, KerasModel, Tensor, TensorTree
from saldiag.core.measurement import Array, DataFacts, TensorFacts
from saldiag.keras_internals.layers import takes_training_argument
from saldiag_probes.loss.baselines import NoBaselines, best_blind_predictions
from saldiag_probes.state.isolation import preserved_state
from saldiag_probes.trace.batch import Batch, as_batch, build_model
from saldiag_probes.trace.errors import CannotMeasure, error_summary

MAX_DISTINCT_VALUES = 1000
"""Number of distinct values at which counting stops."""
MAX_TABLE_COLUMNS = 1000
"""Number of columns up to which a table's columns are examined one by one."""


class _RunningStatistics:
    """Statistics of one tensor, updated batch by batch."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.dtype = ""
        self.shapes: list[tuple[int, ...]] = []
        self.minimum, self.maximum = float("inf"), float("-inf")
        self.nans = self.elements = 0
        self.total = self.squares = 0.0
        self.finite = 0
        self.distinct: set[float] = set()
        self.per_element: tuple[Array, Array] | None = None
        self.comparable = True
        self.single = True
        self.columns: tuple[Array, Array] | None = None

    def add_tensor(self, tensor: Tensor) -> None:
        values, self.dtype = _float_values(tensor)
        self.shapes.append(values.shape)
        nan = np.isnan(values)
        self.nans += int(nan.sum())
        self.elements += values.size
        self._add_range(values[~nan])
        self._add_samples(values)
        has_columns = values.ndim > 1 and values.shape[-1] > 1
        self.single &= has_columns and bool((np.count_nonzero(values, axis=-1) <= 1).all())
        if values.ndim == 2 and len(values) and 1 < values.shape[1] <= MAX_TABLE_COLUMNS:
            self._add_columns(values)

    def _add_range(self, values: Array) -> None:
        if not values.size:
            return
        self.minimum = min(self.minimum, float(values.min()))
        self.maximum = max(self.maximum, float(values.max()))
        finite = values[np.isfinite(values)]
        self.finite += finite.size
        self.total += float(finite.sum())
        self.squares += float(np.square(finite).sum())
        if len(self.distinct) < MAX_DISTINCT_VALUES:
            self.distinct.update(np.unique(values)[:MAX_DISTINCT_VALUES].tolist())

    def _add_samples(self, values: Array) -> None:
        if values.ndim == 0 or (self.per_element and self.per_element[0].shape != values.shape[1:]):
            self.comparable = False
            return
        total, squares = values.sum(axis=0), np.square(values).sum(axis=0)
        if self.per_element is not None:
            total, squares = total + self.per_element[0], squares + self.per_element[1]
        self.per_element = (total, squares)

    def _add_columns(self, values: Array) -> None:
        low, high = values.min(axis=0), values.max(axis=0)
        if self.columns is None:
            self.columns = (low, high)
        elif self.columns[0].shape == low.shape:
            self.columns = (np.minimum(self.columns[0], low), np.maximum(self.columns[1], high))

    def _constant_columns(self) -> tuple[int, ...] | None:
        """Columns that hold one number throughout; a column with a NaN is not constant."""
        floating = self.dtype.startswith(("float", "bfloat"))
        if self.columns is None or not self.comparable or not floating:
            return None
        return tuple(np.flatnonzero(self.columns[0] == self.columns[1]).tolist())

    def tensor_facts(self) -> TensorFacts:
        mean = self.total / self.finite if self.finite else float("nan")
        variance = self.squares / self.finite - mean**2 if self.finite else float("nan")
        std = float(np.sqrt(max(variance, 0.0)))
        has_numbers = self.nans < self.elements
        return TensorFacts(
            name=self.name,
            shape=_common_shape(self.shapes),
            dtype=self.dtype,
            minimum=self.minimum if has_numbers else float("nan"),
            maximum=self.maximum if has_numbers else float("nan"),
            mean=mean,
            std=std,
            nan_share=self._nan_share(),
            sample_variation=self._sample_variation(std),
            distinct=min(len(self.distinct), MAX_DISTINCT_VALUES),
            single=self.single,
            constant=self._constant_columns(),
        )

    def _nan_share(self) -> float:
        """Share of NaN; 0 for text."""
        if self.dtype == tf.string.name:
            return 0.0
        return self.nans / self.elements if self.elements else float("nan")

    def _sample_variation(self, std: float) -> float:
        samples = sum(shape[0] for shape in self.shapes if shape)
        if self.per_element is None or not self.comparable or samples < 2 or np.isnan(std):
            return float("nan")  # std is NaN for text, which is not compared as numbers
        mean = self.per_element[0] / samples
        spread = np.sqrt(np.maximum(self.per_element[1] / samples - np.square(mean), 0.0))
        return float(spread.mean()) / std if std > 0 else 0.0


def _float_values(tensor: Tensor) -> tuple[Array, str]:
    """The values as float64 (NaN for what is no number, such as text), and the dtype's name."""
    if isinstance(tensor, tf.RaggedTensor):
        tensor = tensor.flat_values
    if isinstance(tensor, tf.SparseTensor):
        tensor = tf.sparse.to_dense(tensor)
    dtype = tf.as_dtype(tensor.dtype)
    if not (dtype.is_floating or dtype.is_integer or dtype.is_bool or dtype.is_complex):
        return np.full(tuple(tensor.shape), np.nan), dtype.name
    return np.asarray(tensor).astype(np.float64), dtype.name


def _common_shape(shapes: list[tuple[int, ...]]) -> tuple[int | None, ...]:
    """The shape; None for the batch axis and for every axis whose size differs between batches."""
    if len({len(shape) for shape in shapes}) != 1:
        return (None,)
    axes = [set(sizes) for sizes in zip(*shapes, strict=True)]
    sizes = [next(iter(axis)) if len(axis) == 1 else None for axis in axes]
    return (None, *sizes[1:]) if sizes else ()


class _StructureStatistics:
    """Statistics by tensor of one nested structure (inputs, targets or predictions)."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.facts: dict[tuple[Any, ...], _RunningStatistics] = {}

    def add_structure(self, structure: TensorTree) -> None:
        for path, tensor in keras.tree.flatten_with_path(structure):
            if tensor is not None:
                name = "/".join([self.name, *(str(part) for part in path)])
                self.facts.setdefault(path, _RunningStatistics(name)).add_tensor(tensor)

    def tensor_facts(self) -> tuple[TensorFacts, ...]:
        return tuple(facts.tensor_facts() for facts in self.facts.values())


def measure_data(
    model: KerasModel,
    batches: Iterable[BatchLike],
    *,
    predictions: Callable[[TensorTree], TensorTree] | None = None,
    expected_range: tuple[float, float] | None = None,
    max_batches: int = 8,
    no_baselines: str | None = None,
) -> DataFacts:
    """Statistics of inputs, targets and predictions over some batches, and the baselines.

    Args:
        model: any Keras model; the baselines need a compiled one with one loss for one output.
        batches: ``(x, y)`` or ``(x, y, sample_weight)`` each; only the first ones are read.
        predictions: ``x -> y_pred``, used in place of the model in inference mode.
        expected_range: the input range that a pretrained encoder expects; copied to the result.
        max_batches: number of batches to read.
        no_baselines: why the loss is not evaluated for baselines; None to evaluate it.

    Raises:
        CannotMeasure: there is no batch, or the model cannot be called on it.
    """
    inputs, targets, outputs = (
        _StructureStatistics("input"),
        _StructureStatistics("target"),
        _StructureStatistics("prediction"),
    )
    outputs_by_batch: list[tuple[Any, Any, Any]] = []
    samples = 0
    for raw in itertools.islice(batches, max_batches):
        batch = as_batch(raw)
        y_pred = _predict_batch(model, batch, predictions)
        inputs.add_structure(batch.x)
        targets.add_structure(batch.y)
        outputs.add_structure(y_pred)
        samples += batch.size
        outputs_by_batch.append((batch.y, y_pred, batch.sample_weight))
    if not outputs_by_batch:
        raise CannotMeasure("there is no batch")
    baselines, reason = None, no_baselines
    try:
        if no_baselines is None:
            baselines = best_blind_predictions(model, outputs_by_batch)
    except NoBaselines as error:
        reason = str(error)
    except Exception as error:  # the loss rejects the targets; their statistics still count
        reason = f"the loss cannot be computed: {error_summary(error)}"
    return DataFacts(
        inputs=inputs.tensor_facts(),
        targets=targets.tensor_facts(),
        predictions=outputs.tensor_facts(),
        baselines=baselines,
        samples=samples,
        expected_range=expected_range,
        no_baselines=reason,
    )


def _predict_batch(
    model: KerasModel, batch: Batch, predictions: Callable[[TensorTree], TensorTree] | None
) -> Any:
    build_model(model, batch)
    try:
        with preserved_state(model):
            y_pred = predictions(batch.x) if predictions else _call_for_inference(model, batch.x)
    except Exception as error:
        raise CannotMeasure(
            f"the model cannot be called on this batch: {error_summary(error)}"
        ) from error
    return keras.tree.map_structure(tf.convert_to_tensor, y_pred)


def _call_for_inference(model: KerasModel, x: TensorTree) -> Any:
    return model(x, training=False) if takes_training_argument(model) else model(x)
