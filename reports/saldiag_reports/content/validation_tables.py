"""The tables of a validation check: errors, BatchNorm statistics, inputs, changes, callbacks."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import zip_longest
from typing import Any

import numpy as np

from saldiag.core.measurement import InputComparison, StatisticsRow, ValidationCheck
from saldiag.core.wording import NO_VALUE
from saldiag_reports.content.tables import Column, Table

MAX_LAYERS = 50
"""BatchNorm layers in the table; the run's measurements hold all."""


def validation_tables(check: ValidationCheck) -> tuple[Table, ...]:
    """All tables that have a row, in the order of the section."""
    made = (errors(check), statistics(check), inputs(check), corrections(check), callbacks(check))
    return tuple(table for table in made if table.rows)


def errors(check: ValidationCheck) -> Table:
    """One row for validation items and one for training items, where measured, of each check."""
    columns = (
        Column("after epoch"),
        Column("step", tip="training steps taken"),
        Column("items", "text"),
        Column("inference mode", tip="error as evaluate and predict compute it"),
        Column("training mode", tip="error with the statistics of the batch and with dropout"),
        Column(
            "statistics re-estimated",
            tip="inference-mode error after BatchNorm's statistics were re-estimated from training"
            " batches",
        ),
    )
    validation = (check.inference, check.training, check.reestimated)
    training = (check.train_inference, check.train_training, check.train_reestimated)
    rows = []
    for index, (epoch, step) in enumerate(zip(check.checked, check.steps, strict=False)):
        rows.append((epoch, step, "validation", *_column(validation, index)))
        learnt = _column(training, index)
        if not all(math.isnan(value) for value in learnt):
            rows.append((epoch, step, "training", *learnt))
    return Table(f"Checked errors ({check.loss})", columns, tuple(rows))


def _column(values: tuple[Any, ...], index: int) -> tuple[float, ...]:
    flat = [np.ravel(one) for one in values]
    return tuple(float(one[index]) if index < len(one) else math.nan for one in flat)


def statistics(check: ValidationCheck) -> Table:
    """One row a BatchNorm layer, the one whose statistics are furthest off first."""
    columns = (
        Column("layer", "name"),
        Column("momentum", tip="share of a moving statistic that one training step keeps"),
        Column(
            "moving / batch variance",
            tip="moving variance over the variance in training batches; 1 is right; median over"
            " the channels",
        ),
        Column(
            "means apart",
            tip="|moving mean - batch mean| in standard deviations of the batch; median over the"
            " channels",
        ),
    )
    ranked = sorted(check.statistics, key=_distance, reverse=True)
    rows = tuple(
        (row.path, row.momentum, row.variance_ratio, row.mean_distance)
        for row in ranked[:MAX_LAYERS]
    )
    caption = "BatchNorm's moving statistics against those of training batches, worst first"
    return Table(caption, columns, rows, left_out=len(ranked) - len(rows))


def _distance(row: StatisticsRow) -> float:
    """How far statistics are off; one that is not a number is the worst."""
    found = max(row.excess, row.mean_distance)
    return math.inf if math.isnan(row.excess) or math.isnan(row.mean_distance) else found


def inputs(check: ValidationCheck) -> Table:
    """For each channel of each input one row of training and one of validation."""
    columns = (
        Column("input", "text"),
        Column("channel", "text"),
        Column("items", "text"),
        Column("shape", "text", "of an item"),
        Column("mean"),
        Column("std", tip="standard deviation"),
    )
    rows = tuple(row for one in check.inputs for row in _channels(one))
    return Table("Inputs of training and validation", columns, rows)


def _channels(one: InputComparison) -> Iterator[tuple[Any, ...]]:
    values = (one.mean, one.std, one.validation_mean, one.validation_std)
    together = list(zip_longest(*values, fillvalue=math.nan)) or [(math.nan,) * 4]
    name = one.name or "input"
    for channel, (mean, std, validation_mean, validation_std) in enumerate(together):
        # With more channels than are compared one by one there is one row for all of them.
        which = str(channel) if len(together) > 1 else "all"
        yield (name, which, "training", _shape(one.shape), mean, std)
        yield (
            name, which, "validation", _shape(one.validation_shape), validation_mean,
            validation_std,
        )  # fmt: skip


def _shape(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape)) or "scalar"


def corrections(check: ValidationCheck) -> Table:
    """One row a change of the validation data, the one with the lowest error first."""
    columns = (
        Column("changed", "text"),
        Column("change", "name", "x: the inputs, y: the targets"),
        Column("error", tip=check.loss),
    )
    tried = sorted(check.corrections, key=lambda c: (math.isnan(c.error), c.error))
    rows = [(c.kind, c.change, c.error) for c in tried]
    error = _last(check.reestimated) if reestimation_helps(check) else _last(check.inference)
    rows = [(NO_VALUE, "as validated", error), *rows] if rows else []
    caption = f"Changes of the validation data that were tried, and the error {mode_of(check)}"
    return Table(caption, columns, tuple(rows))


def reestimation_helps(check: ValidationCheck) -> bool:
    """Whether changes and accuracy were measured with the statistics re-estimated."""
    return _last(check.train_reestimated) < _last(check.train_inference)


def mode_of(check: ValidationCheck) -> str:
    """How the model predicted for changes and accuracy."""
    helps = reestimation_helps(check)
    return "with BatchNorm's statistics re-estimated" if helps else "in inference mode"


def _last(values: Any) -> float:
    flat = np.ravel(values)
    return float(flat[-1]) if flat.size else math.nan


def callbacks(check: ValidationCheck) -> Table:
    """One row a callback that acted on a validation metric."""
    columns = (
        Column("callback", "name"),
        Column("monitors", "name"),
        Column("kept the weights of epoch"),
        Column("stopped after epoch"),
    )
    rows = tuple((c.kind, c.monitor, c.kept, c.stopped) for c in check.callbacks)
    return Table("Callbacks that acted on a validation metric", columns, rows)
