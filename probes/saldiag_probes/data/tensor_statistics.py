"""What goes in, what should come out, what comes out; and what not looking at the input costs.

The facts are gathered batch by batch. The baselines are the loss of the best constant and of the
best fixed prediction: a model whose loss is not below them has learned nothing of its input.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from saldiag.core.measurement import Array, DataFacts, TensorFacts
from saldiag.keras_internals.layers import takes_training_argument
from saldiag_probes.loss.baselines import NoBaselines, best_blind_predictions
from saldiag_probes.state.isolation import undisturbed
from saldiag_probes.trace.recorder import Batch, CannotMeasure, as_batch, build, explain

DISTINCT_LIMIT = 1000
MOST_COLUMNS = 1000
"""Columns of a table that are looked at one by one."""


class _Facts:
    """Running facts of one tensor over the batches."""

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

    def add(self, tensor: Any) -> None:
        values, self.dtype = _numbers(tensor)
        self.shapes.append(values.shape)
        nan = np.isnan(values)
        self.nans += int(nan.sum())
        self.elements += values.size
        self._add_range(values[~nan])
        self._add_samples(values)
        several = values.ndim > 1 and values.shape[-1] > 1
        self.single &= several and bool((np.count_nonzero(values, axis=-1) <= 1).all())
        if values.ndim == 2 and len(values) and 1 < values.shape[1] <= MOST_COLUMNS:
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
        if len(self.distinct) < DISTINCT_LIMIT:
            self.distinct.update(np.unique(values)[:DISTINCT_LIMIT].tolist())

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

    def _constant(self) -> tuple[int, ...] | None:
        """Columns of one number; a nan is none, and equals nothing."""
        floating = self.dtype.startswith(("float", "bfloat"))
        if self.columns is None or not self.comparable or not floating:
            return None
        return tuple(np.flatnonzero(self.columns[0] == self.columns[1]).tolist())

    def result(self) -> TensorFacts:
        mean = self.total / self.finite if self.finite else float("nan")
        variance = self.squares / self.finite - mean**2 if self.finite else float("nan")
        std = float(np.sqrt(max(variance, 0.0)))
        some = self.nans < self.elements
        return TensorFacts(
            name=self.name,
            shape=_common(self.shapes),
            dtype=self.dtype,
            minimum=self.minimum if some else float("nan"),
            maximum=self.maximum if some else float("nan"),
            mean=mean,
            std=std,
            nan_share=self._nan_share(),
            sample_variation=self._variation(std),
            distinct=min(len(self.distinct), DISTINCT_LIMIT),
            single=self.single,
            constant=self._constant(),
        )

    def _nan_share(self) -> float:
        """Text has no numbers, and hence no NaN among them."""
        if self.dtype == "string":
            return 0.0
        return self.nans / self.elements if self.elements else float("nan")

    def _variation(self, std: float) -> float:
        samples = sum(shape[0] for shape in self.shapes if shape)
        if self.per_element is None or not self.comparable or samples < 2:
            return float("nan")
        mean = self.per_element[0] / samples
        spread = np.sqrt(np.maximum(self.per_element[1] / samples - np.square(mean), 0.0))
        return float(spread.mean()) / std if std > 0 else 0.0


def _numbers(tensor: Any) -> tuple[Array, str]:
    """The values as float64 (nan for text), and the dtype's name."""
    if isinstance(tensor, tf.RaggedTensor):
        tensor = tensor.flat_values
    if isinstance(tensor, tf.SparseTensor):
        tensor = tf.sparse.to_dense(tensor)
    dtype = tf.as_dtype(tensor.dtype)
    if dtype == tf.string:
        return np.full(tensor.shape.as_list(), np.nan), dtype.name
    return np.asarray(tensor).astype(np.float64), dtype.name


def _common(shapes: list[tuple[int, ...]]) -> tuple[int | None, ...]:
    """The shape without its batch axis; None for every axis that differs between batches."""
    if len({len(shape) for shape in shapes}) != 1:
        return (None,)
    axes = [set(sizes) for sizes in zip(*shapes, strict=True)]
    sizes = [next(iter(axis)) if len(axis) == 1 else None for axis in axes]
    return (None, *sizes[1:]) if sizes else ()


class _Gathered:
    """Facts by tensor of one nested structure (inputs, targets or predictions)."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.facts: dict[tuple[Any, ...], _Facts] = {}

    def add(self, structure: Any) -> None:
        for path, tensor in keras.tree.flatten_with_path(structure):
            if tensor is not None:
                name = "/".join([self.name, *(str(part) for part in path)])
                self.facts.setdefault(path, _Facts(name)).add(tensor)

    def results(self) -> tuple[TensorFacts, ...]:
        return tuple(facts.result() for facts in self.facts.values())


def measure_data(
    model: Any,
    batches: Iterable[Any],
    *,
    predictions: Callable[[Any], Any] | None = None,
    expected_range: tuple[float, float] | None = None,
    max_batches: int = 8,
) -> DataFacts:
    """Facts of inputs, targets and predictions over some batches, and the baselines.

    Args:
        model: any Keras model; the baselines need it compiled with one loss for one output.
        batches: ``(x, y)`` or ``(x, y, sample_weight)`` each; only the first are looked at.
        predictions: ``x -> y_pred``, in place of the model in inference mode.
        expected_range: what a pretrained encoder expects of its input, passed on.
        max_batches: how many batches to look at.

    Raises:
        CannotMeasure: there is no batch, or the model cannot be called on it.
    """
    inputs, targets, outputs = _Gathered("input"), _Gathered("target"), _Gathered("prediction")
    kept: list[tuple[Any, Any, Any]] = []
    samples = 0
    for raw in itertools.islice(batches, max_batches):
        batch = as_batch(raw)
        y_pred = _predict(model, batch, predictions)
        inputs.add(batch.x)
        targets.add(batch.y)
        outputs.add(y_pred)
        samples += batch.size
        kept.append((batch.y, y_pred, batch.sample_weight))
    if not kept:
        raise CannotMeasure("there is no batch to look at")
    baselines, reason = None, None
    try:
        baselines = best_blind_predictions(model, kept)
    except NoBaselines as error:
        reason = str(error)
    except Exception as error:  # the loss refuses the targets, which are worth a look all the same
        reason = f"the loss cannot be computed: {explain(error)}"
    return DataFacts(
        inputs=inputs.results(),
        targets=targets.results(),
        predictions=outputs.results(),
        baselines=baselines,
        samples=samples,
        expected_range=expected_range,
        no_baselines=reason,
    )


def _predict(model: Any, batch: Batch, predictions: Callable[[Any], Any] | None) -> Any:
    build(model, batch)
    try:
        with undisturbed(model):
            y_pred = predictions(batch.x) if predictions else _infer(model, batch.x)
    except Exception as error:
        raise CannotMeasure(f"the model cannot be called: {explain(error)}") from error
    return keras.tree.map_structure(tf.convert_to_tensor, y_pred)


def _infer(model: Any, x: Any) -> Any:
    return model(x, training=False) if takes_training_argument(model) else model(x)
