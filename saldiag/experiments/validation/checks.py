"""Validation checks: errors on validation and training samples, in both modes."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from saldiag.core.measurement import Array, StatisticsRow, ValidationCheck
from saldiag.experiments.overfit.batch_statistics import batch_norm_layers
from saldiag.experiments.overfit.batchnorm_recalibration import (
    LayerStatistics,
    reestimated_statistics,
)
from saldiag.experiments.overfit.mode_errors import (
    Batch,
    BatchOutcome,
    ModeErrors,
    batch_size,
    mean_error,
)
from saldiag.experiments.validation.corrections import Corrections
from saldiag.experiments.validation.item_errors import ItemErrors
from saldiag_probes.loss.compiled_loss import loss_name
from saldiag_probes.signal.inference_noise import layers_active_in_inference
from saldiag_probes.state.isolation import preserved_state
from saldiag_probes.trace.layer_facts import depends_on_mode
from saldiag_probes.trace.paths import layer_paths

NOT_MEASURED = float("nan")
AVERAGED_PASSES = 8
"""Inference passes that are averaged if two of them differ."""
PASSES_PER_CHECK = 5
"""Forward passes of a brief check on one batch of each kind; a thorough check makes twice as many.
"""


@dataclass(frozen=True)
class _CheckErrors:
    """The errors of one check, in units of the loss; nan if not measured."""

    epoch: int
    """The epoch after which the check was made, from 1."""
    step: int
    """Training steps taken before the check."""
    inference: float
    """Validation samples in inference mode."""
    training: float
    """Validation samples in training mode."""
    reestimated: float
    """Validation samples in inference mode, with BatchNorm's statistics re-estimated."""
    train_inference: float = NOT_MEASURED
    """Training samples in inference mode; only in a thorough check, as are the following."""
    train_training: float = NOT_MEASURED
    """Training samples in training mode."""
    train_reestimated: float = NOT_MEASURED
    """Training samples in inference mode, with BatchNorm's statistics re-estimated."""


class ValidationChecks:
    """Measures a model between epochs, repeatedly; the model is left unchanged.

    Args:
        errors: measures the model's errors; already traced, if possible.
        training: batches that the model trains on.
        validation: the first batches that validation drew, of the same size if possible.
    """

    def __init__(
        self, errors: ModeErrors, training: Sequence[Batch], validation: Sequence[Batch]
    ) -> None:
        self._weighted = [batch for batch in training if len(batch) > 2 and batch[2] is not None]
        self._errors = errors
        self._training, self._validation = _without_weights(training), _without_weights(validation)
        self._checks: list[_CheckErrors] = []
        self._modes = depends_on_mode(errors.model)
        self._normalized = bool(batch_norm_layers(errors.model))
        self._item_errors = ItemErrors(errors.model)
        self._other_fields: dict[str, Any] = {}

    def check_briefly(self, epoch: int, step: int) -> None:
        """Measure the first validation batch in both modes and with re-estimated statistics.

        Args:
            epoch: the epoch after which the check is made, from 1.
            step: training steps taken.
        """
        with preserved_state(self._errors.model):
            self._checks.append(
                self._measure_errors(epoch, step, self._training[:1], self._validation[:1])
            )

    def check_thoroughly(self, epoch: int, step: int, *, searching: bool, seconds: float) -> None:
        """Measure more items, training samples included, and what else separates the two.

        Args:
            epoch: the epoch after which the check is made, from 1.
            step: training steps taken.
            searching: whether to compare training data with validation data and to try corrections.
            seconds: time limit; the number of batches is derived from the first one's time.
        """
        with preserved_state(self._errors.model):
            first = self._seconds_per_batch()
            share = max(1, int(seconds / max(2 * PASSES_PER_CHECK * first, 1e-3)))
            training, validation = self._training[:share], self._validation[:share]
            self._checks.append(
                self._measure_errors(epoch, step, training, validation, thorough=True)
            )
            if self._weighted:
                self._other_fields["weight_scale"] = self._weight_scale(self._weighted[:share])
            if self._modes:
                self._other_fields.update(self._inference_stability(validation[0]))
            if searching:
                self._search_corrections(training, validation)

    def _seconds_per_batch(self) -> float:
        begun = time.monotonic()
        self._errors.on_batches(self._validation[:1]).predict(training=False)
        return time.monotonic() - begun

    def _measure_errors(
        self,
        epoch: int,
        step: int,
        training: Sequence[Batch],
        validation: Sequence[Batch],
        *,
        thorough: bool = False,
    ) -> _CheckErrors:
        """The errors of one check; further fields of the measurement go to ``_other_fields``."""
        on_validation = self._errors.on_batches(validation)
        on_training = self._errors.on_batches(training)
        outcomes = on_validation.batch_outcomes(training=False)
        values: dict[str, Any] = {
            "inference": mean_error(outcomes, validation),
            "training": on_validation.error(training=True) if self._modes else NOT_MEASURED,
            "reestimated": NOT_MEASURED,
        }
        predictions: Sequence[Any] = [outcome.predictions for outcome in outcomes]
        if thorough:
            self._other_fields["item_errors"] = self._item_errors(
                validation, predictions, values["inference"]
            )
        best: Sequence[BatchOutcome] = (
            on_training.batch_outcomes(training=False) if thorough else []
        )
        if thorough:
            values["train_inference"] = mean_error(best, training)
            values["train_training"] = (
                on_training.error(training=True) if self._modes else NOT_MEASURED
            )
        if self._normalized:
            with reestimated_statistics(on_training) as moving:
                if moving:
                    reestimated = on_validation.batch_outcomes(training=False)
                    values["reestimated"] = mean_error(reestimated, validation)
                    if thorough:
                        best, predictions = self._better_of_inference(
                            on_training, validation, reestimated, (best, predictions), values
                        )
            self._other_fields["statistics"] = tuple(self._statistics_rows(moving))
        # Without a layer that depends on the mode, both modes give the same errors.
        if not self._modes:
            values["training"] = values["inference"]
            values["train_training"] = values.get("train_inference", NOT_MEASURED)
        if thorough:
            self._other_fields["train_item_errors"] = self._item_errors(
                training, [outcome.predictions for outcome in best], mean_error(best, training)
            )
            self._predictions = predictions
        return _CheckErrors(epoch, step, **values)

    def _better_of_inference(
        self,
        on_training: ModeErrors,
        validation: Sequence[Batch],
        reestimated: Sequence[BatchOutcome],
        original: tuple[Sequence[BatchOutcome], Sequence[Any]],
        values: dict[str, Any],
    ) -> tuple[Sequence[BatchOutcome], Sequence[Any]]:
        """Training outcomes and validation predictions with the better statistics.

        Called while BatchNorm's statistics are re-estimated; the better ones have the lower error
        on training samples.

        Args:
            on_training: measures errors on training samples.
            validation: the validation batches.
            reestimated: outcomes of ``validation`` with re-estimated statistics.
            original: training outcomes and validation predictions with the moving averages.
            values: the check's errors so far; ``train_reestimated`` is added.
        """
        outcomes = on_training.batch_outcomes(training=False)
        values["train_reestimated"] = mean_error(outcomes, on_training.batches)
        predictions = [outcome.predictions for outcome in reestimated]
        self._other_fields["reestimated_item_errors"] = self._item_errors(
            validation, predictions, values["reestimated"]
        )
        if values["train_reestimated"] < values["train_inference"]:
            return outcomes, predictions
        return original

    def _statistics_rows(self, moving: Sequence[LayerStatistics]) -> Iterator[StatisticsRow]:
        paths = layer_paths(self._errors.model)
        for row in moving:
            mean, variance = (np.asarray(value, np.float64) for value in row.held)
            true_mean, true_variance = (np.asarray(value, np.float64) for value in row.estimate)
            true_variance = np.maximum(true_variance, 1e-12)
            yield StatisticsRow(
                path=paths.get(id(row.layer), row.layer.name),
                momentum=float(row.layer.momentum),
                variance_ratio=float(np.median(variance / true_variance)),
                mean_distance=float(np.median(np.abs(mean - true_mean) / np.sqrt(true_variance))),
                excess=float(np.median(np.abs(variance - true_variance) / true_variance)),
            )

    def _weight_scale(self, weighted: Sequence[Batch]) -> float:
        """Error without sample weights over the error with them; 1 if either is 0."""
        plain, with_weights = (
            self._errors.on_batches(batches).error(training=False)
            for batches in (_without_weights(weighted), weighted)
        )
        return plain / with_weights if with_weights > 0 and plain > 0 else 1.0

    def _inference_stability(self, batch: Batch) -> dict[str, Any]:
        """Whether inference is repeatable, and whether it depends on the rest of the batch."""
        first, second = self._errors.repeat_predictions(batch)
        found: dict[str, Any] = {"repeat_difference": _relative_difference(first, second)}
        if found["repeat_difference"] > 0:
            found.update(self._averaged_errors(batch))
        elif (mixed := self._in_other_batch(batch)) is not None:
            half = batch_size(batch) // 2
            other = self._errors.on_batches([mixed]).predict(training=False)[0]
            first, other = (keras.tree.map_structure(lambda a: a[:half], p) for p in (first, other))
            found["company_difference"] = _relative_difference(first, other)
        if any(found.get(name, 0) > 0 for name in ("repeat_difference", "company_difference")):
            found["active"] = layers_active_in_inference(self._errors.model, batch[0])
        return found

    def _in_other_batch(self, batch: Batch) -> Batch | None:
        """The first half of the batch, followed by training samples; None if they do not fit."""
        half = batch_size(batch) // 2
        return _with_other_items(batch, self._training[0], half) if half else None

    def _averaged_errors(self, batch: Batch) -> dict[str, float]:
        """The error of the mean prediction of several passes, and the mean error of one pass."""
        singles = self._errors.repeat_predictions(batch, AVERAGED_PASSES)
        mean = keras.tree.map_structure(lambda *parts: np.mean(parts, axis=0), *singles)
        errors = [self._item_errors([batch], [one]) for one in (mean, *singles)]
        if not len(errors[0]):
            return {}
        return {
            "averaged": float(errors[0].mean()),
            "single": float(np.mean([e.mean() for e in errors[1:]])),
        }

    def _search_corrections(self, training: Sequence[Batch], validation: Sequence[Batch]) -> None:
        """Try corrections of the validation data, with the better of both statistics."""
        search = Corrections(self._errors, training, validation, self._predictions)
        last = self._checks[-1]
        if last.train_reestimated < last.train_inference:
            with reestimated_statistics(self._errors.on_batches(training)):
                self._other_fields.update(search.find_corrections())
        else:
            self._other_fields.update(search.find_corrections())

    def to_measurement(self, **more: Any) -> ValidationCheck | None:
        """All checks so far; None before the first. ``more`` are further fields."""
        if not self._checks:
            return None

        def column_of(name: str) -> Array:
            return np.array([getattr(check, name) for check in self._checks])

        names = ("inference", "training", "reestimated")
        columns = {name: column_of(name) for name in (*names, *(f"train_{n}" for n in names))}
        fields: dict[str, Any] = {**columns, **self._other_fields, **more}
        return ValidationCheck(
            loss=loss_name(self._errors.model),
            items=sum(map(batch_size, self._validation)),
            training_items=sum(map(batch_size, self._training)),
            checked=column_of("epoch"),
            steps=column_of("step"),
            **fields,
        )


def _without_weights(batches: Sequence[Batch]) -> list[Batch]:
    """The batches without sample weights, into which Keras folds class weights."""
    return [batch[:2] for batch in batches]


def _relative_difference(one: Any, other: Any) -> float:
    """Mean |difference| of two nests of predictions over the standard deviation of the first."""
    first, second = (
        np.concatenate([np.ravel(np.asarray(p, np.float64)) for p in keras.tree.flatten(nest)])
        for nest in (one, other)
    )
    spread = float(first.std())
    return float(np.abs(first - second).mean()) / spread if spread > 0 else 0.0


def _with_other_items(batch: Batch, other: Batch, half: int) -> Batch | None:
    """The first ``half`` items of a batch followed by items of another; None if they don't fit."""

    def join_halves(mine: Any, theirs: Any) -> Any:
        mine, theirs = np.asarray(mine), np.asarray(theirs)
        rest = theirs[: len(mine) - half]
        if len(rest) < len(mine) - half:
            raise ValueError("too few samples")
        return tf.constant(np.concatenate([mine[:half], rest]))

    try:
        return (keras.tree.map_structure(join_halves, batch[0], other[0]), *batch[1:])
    except (ValueError, TypeError, tf.errors.OpError):
        return None
