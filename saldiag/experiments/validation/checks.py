"""Checks of one training: errors on validation and training items in both modes."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from saldiag.core.measurement import Array, StatisticsRow, ValidationCheck
from saldiag.experiments.overfit.batch_statistics import normalizations
from saldiag.experiments.overfit.batchnorm_recalibration import Moving, reestimated
from saldiag.experiments.overfit.mode_errors import (
    Batch,
    ModeErrors,
    Outcome,
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
REPEATS = 8
"""Inference passes that are averaged where two of them differ."""
PASSES = 5
"""Forward passes of a plain check with one batch of either kind; a thorough one has twice that."""


@dataclass(frozen=True)
class _Check:
    """One check: errors on validation items, and on training items where it was thorough."""

    epoch: int
    step: int
    inference: float
    training: float
    reestimated: float
    train_inference: float = NOT_MEASURED
    train_training: float = NOT_MEASURED
    train_reestimated: float = NOT_MEASURED


class Checks:
    """Measures a model as it is now, as often as asked; the model is left as it was.

    Args:
        errors: predictions and losses of the model, traced already if possible.
        training: batches that the model trains on.
        validation: the first batches that validation drew, of the same size if possible.
    """

    def __init__(
        self, errors: ModeErrors, training: Sequence[Batch], validation: Sequence[Batch]
    ) -> None:
        self._weighted = [batch for batch in training if len(batch) > 2 and batch[2] is not None]
        self._errors = errors
        self._training, self._validation = _unweighted(training), _unweighted(validation)
        self._checks: list[_Check] = []
        self._modes = depends_on_mode(errors.model)
        self._normalized = bool(normalizations(errors.model))
        self._item_errors = ItemErrors(errors.model)
        self._more: dict[str, Any] = {}

    def check(self, epoch: int, step: int) -> None:
        """Errors on the first validation batch in both modes and with statistics re-estimated."""
        with preserved_state(self._errors.model):
            self._checks.append(self._look(epoch, step, self._training[:1], self._validation[:1]))

    def check_thoroughly(self, epoch: int, step: int, *, searching: bool, seconds: float) -> None:
        """The same on more items, training items too; what else tells validation from training.

        Args:
            epoch: after which it is, from 1.
            step: training steps taken.
            searching: whether to compare the data of training and validation, and to try changes.
            seconds: limit, estimated from the first batch.
        """
        with preserved_state(self._errors.model):
            first = self._timed()
            share = max(1, int(seconds / max(2 * PASSES * first, 1e-3)))
            training, validation = self._training[:share], self._validation[:share]
            self._checks.append(self._look(epoch, step, training, validation, thorough=True))
            if self._weighted:
                self._more["weight_scale"] = self._weight_scale(self._weighted[:share])
            if self._modes:
                self._more.update(self._stability(validation[0]))
            if searching:
                self._search(training, validation)

    def _timed(self) -> float:
        begun = time.monotonic()
        self._errors.on(self._validation[:1]).predict(training=False)
        return time.monotonic() - begun

    def _look(
        self,
        epoch: int,
        step: int,
        training: Sequence[Batch],
        validation: Sequence[Batch],
        *,
        thorough: bool = False,
    ) -> _Check:
        held, learnt = self._errors.on(validation), self._errors.on(training)
        outcomes = held.outcomes(training=False)
        values: dict[str, Any] = {
            "inference": mean_error(outcomes, validation),
            "training": held.error(training=True) if self._modes else NOT_MEASURED,
            "reestimated": NOT_MEASURED,
        }
        predictions: Sequence[Any] = [outcome.predictions for outcome in outcomes]
        if thorough:
            self._more["item_errors"] = self._item_errors(
                validation, predictions, values["inference"]
            )
        best: Sequence[Outcome] = learnt.outcomes(training=False) if thorough else []
        if thorough:
            values["train_inference"] = mean_error(best, training)
            values["train_training"] = learnt.error(training=True) if self._modes else NOT_MEASURED
        if self._normalized:
            with reestimated(learnt) as moving:
                if moving:
                    again = held.outcomes(training=False)
                    values["reestimated"] = mean_error(again, validation)
                    if thorough:
                        best, predictions = self._renewed(
                            learnt, validation, again, (best, predictions), values
                        )
            self._more["statistics"] = tuple(self._rows(moving))
        if not self._modes:
            values["training"] = values["inference"]
            values["train_training"] = values.get("train_inference", NOT_MEASURED)
        if thorough:
            self._more["train_item_errors"] = self._item_errors(
                training, [outcome.predictions for outcome in best], mean_error(best, training)
            )
            self._predictions = predictions
        return _Check(epoch, step, **values)

    def _renewed(
        self,
        learnt: ModeErrors,
        validation: Sequence[Batch],
        again: Sequence[Outcome],
        before: tuple[Sequence[Outcome], Sequence[Any]],
        values: dict[str, Any],
    ) -> tuple[Sequence[Outcome], Sequence[Any]]:
        """Training outcomes and validation predictions in the better of both ways of inference."""
        trained = learnt.outcomes(training=False)
        values["train_reestimated"] = mean_error(trained, learnt.batches)
        renewed = [outcome.predictions for outcome in again]
        self._more["reestimated_item_errors"] = self._item_errors(
            validation, renewed, values["reestimated"]
        )
        if values["train_reestimated"] < values["train_inference"]:
            return trained, renewed
        return before

    def _rows(self, moving: Sequence[Moving]) -> Iterator[StatisticsRow]:
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
        """Error without weights over that with the weights of training; 1 if either is 0."""
        plain, heavy = (
            self._errors.on(batches).error(training=False)
            for batches in (_unweighted(weighted), weighted)
        )
        return plain / heavy if heavy > 0 and plain > 0 else 1.0

    def _stability(self, batch: Batch) -> dict[str, Any]:
        """Whether inference repeats itself, and whether it depends on the rest of the batch."""
        first, second = self._errors.repeated(batch)
        found: dict[str, Any] = {"repeat_difference": _difference(first, second)}
        if found["repeat_difference"] > 0:
            found.update(self._averaged(batch))
        elif (mixed := self._in_other_company(batch)) is not None:
            half = batch_size(batch) // 2
            other = self._errors.on([mixed]).predict(training=False)[0]
            first, other = (keras.tree.map_structure(lambda a: a[:half], p) for p in (first, other))
            found["company_difference"] = _difference(first, other)
        if any(found.get(name, 0) > 0 for name in ("repeat_difference", "company_difference")):
            found["active"] = layers_active_in_inference(self._errors.model, batch[0])
        return found

    def _in_other_company(self, batch: Batch) -> Batch | None:
        """The first half of the batch, followed by training items; None if they do not fit."""
        half = batch_size(batch) // 2
        return _with_other_company(batch, self._training[0], half) if half else None

    def _averaged(self, batch: Batch) -> dict[str, float]:
        """The error of the mean prediction of several passes, and that of a single pass."""
        singles = self._errors.repeated(batch, REPEATS)
        mean = keras.tree.map_structure(lambda *parts: np.mean(parts, axis=0), *singles)
        errors = [self._item_errors([batch], [one]) for one in (mean, *singles)]
        if not len(errors[0]):
            return {}
        return {
            "averaged": float(errors[0].mean()),
            "single": float(np.mean([e.mean() for e in errors[1:]])),
        }

    def _search(self, training: Sequence[Batch], validation: Sequence[Batch]) -> None:
        search = Corrections(self._errors, training, validation, self._predictions)
        last = self._checks[-1]
        renewed = last.train_reestimated < last.train_inference
        if renewed:
            with reestimated(self._errors.on(training)):
                self._more.update(search.found())
        else:
            self._more.update(search.found())

    def result(self, **more: Any) -> ValidationCheck | None:
        """All checks so far; None before the first."""
        if not self._checks:
            return None

        def column(name: str) -> Array:
            return np.array([getattr(check, name) for check in self._checks])

        names = ("inference", "training", "reestimated")
        columns = {name: column(name) for name in (*names, *(f"train_{n}" for n in names))}
        fields: dict[str, Any] = {**columns, **self._more, **more}
        return ValidationCheck(
            loss=loss_name(self._errors.model),
            items=sum(map(batch_size, self._validation)),
            training_items=sum(map(batch_size, self._training)),
            checked=column("epoch"),
            steps=column("step"),
            **fields,
        )


def _unweighted(batches: Sequence[Batch]) -> list[Batch]:
    """The batches without sample weights, class weights included."""
    return [batch[:2] for batch in batches]


def _difference(one: Any, other: Any) -> float:
    """Mean |difference| of two sets of predictions as a share of their standard deviation."""
    first, second = (
        np.concatenate([np.ravel(np.asarray(p, np.float64)) for p in keras.tree.flatten(nest)])
        for nest in (one, other)
    )
    spread = float(first.std())
    return float(np.abs(first - second).mean()) / spread if spread > 0 else 0.0


def _with_other_company(batch: Batch, other: Batch, half: int) -> Batch | None:
    """The first ``half`` of the batch, followed by items of the other one; None if they differ."""

    def joined(mine: Any, theirs: Any) -> Any:
        mine, theirs = np.asarray(mine), np.asarray(theirs)
        rest = theirs[: len(mine) - half]
        if len(rest) < len(mine) - half:
            raise ValueError("too few items")
        return tf.constant(np.concatenate([mine[:half], rest]))

    try:
        return (keras.tree.map_structure(joined, batch[0], other[0]), *batch[1:])
    except (ValueError, TypeError, tf.errors.OpError):
        return None
