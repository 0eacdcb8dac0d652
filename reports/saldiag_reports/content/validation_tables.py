"""Tables of a validation check: errors, BatchNorm statistics, inputs, corrections, callbacks."""

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
"""BatchNorm layers in the table; the run's measurements have all."""


def validation_tables(check: ValidationCheck) -> tuple[Table, ...]:
    """The tables that have rows, in the order of the section."""
    tables = (
        error_table(check),
        statistics_table(check),
        input_table(check),
        correction_table(check),
        callback_table(check),
    )
    return tuple(table for table in tables if table.rows)


def error_table(check: ValidationCheck) -> Table:
    """One row per check for the validation samples, and one for training samples if measured."""
    columns = (
        Column("after epoch"),
        Column("step", tip="training steps taken"),
        Column("samples", "text"),
        Column("inference mode", tip="error as evaluate and predict compute it"),
        Column("training mode", tip="error with the batch's statistics and with dropout"),
        Column(
            "statistics re-estimated",
            tip="inference-mode error with BatchNorm's statistics re-estimated on training batches",
        ),
    )
    validation = (check.inference, check.training, check.reestimated)
    training = (check.train_inference, check.train_training, check.train_reestimated)
    rows = []
    for index, (epoch, step) in enumerate(zip(check.checked, check.steps, strict=False)):
        rows.append((epoch, step, "validation", *_values_of_check(validation, index)))
        trained = _values_of_check(training, index)
        if not all(math.isnan(value) for value in trained):
            rows.append((epoch, step, "training", *trained))
    return Table(f"Errors at each check ({check.loss})", columns, tuple(rows))


def _values_of_check(values: tuple[Any, ...], index: int) -> tuple[float, ...]:
    flat = [np.ravel(one) for one in values]
    return tuple(float(one[index]) if index < len(one) else math.nan for one in flat)


def statistics_table(check: ValidationCheck) -> Table:
    """One row per BatchNorm layer; the one whose statistics lag most comes first."""
    columns = (
        Column("layer", "name"),
        Column("momentum", tip="share of the moving statistics that a training step keeps"),
        Column(
            "moving / batch variance",
            tip="moving variance over the variance of training batches, median over the channels;"
            " ideally 1",
        ),
        Column(
            "difference of the means",
            tip="|moving mean - batch mean| in standard deviations of the batch, median over the"
            " channels",
        ),
    )
    ranked = sorted(check.statistics, key=_statistics_distance, reverse=True)
    rows = tuple(
        (row.path, row.momentum, row.variance_ratio, row.mean_distance)
        for row in ranked[:MAX_LAYERS]
    )
    caption = "BatchNorm's moving statistics compared with those of training batches, worst first"
    return Table(caption, columns, rows, left_out=len(ranked) - len(rows))


def _statistics_distance(row: StatisticsRow) -> float:
    """How far moving statistics are from those of the batches; infinity for NaN."""
    if math.isnan(row.excess) or math.isnan(row.mean_distance):
        return math.inf
    return max(row.excess, row.mean_distance)


def input_table(check: ValidationCheck) -> Table:
    """For each channel of each input, one row of training and one of validation samples."""
    columns = (
        Column("input", "text"),
        Column("channel", "text"),
        Column("samples", "text"),
        Column("shape", "text", "shape of a sample"),
        Column("mean"),
        Column("std", tip="standard deviation"),
    )
    rows = tuple(row for one in check.inputs for row in _channel_rows(one))
    return Table("Inputs in training and validation", columns, rows)


def _channel_rows(one: InputComparison) -> Iterator[tuple[Any, ...]]:
    values = (one.mean, one.std, one.validation_mean, one.validation_std)
    by_channel = list(zip_longest(*values, fillvalue=math.nan)) or [(math.nan,) * 4]
    name = one.name or "input"
    for channel, (mean, std, validation_mean, validation_std) in enumerate(by_channel):
        # The probe compares only a limited number of channels one by one, more of them as one.
        label = str(channel) if len(by_channel) > 1 else "all"
        yield (name, label, "training", _shape_text(one.shape), mean, std)
        yield (
            name, label, "validation", _shape_text(one.validation_shape), validation_mean,
            validation_std,
        )  # fmt: skip


def _shape_text(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape)) or "scalar"


def correction_table(check: ValidationCheck) -> Table:
    """One row per correction of the validation data that was tried; lowest error first."""
    columns = (
        Column("part", "text"),
        Column("correction", "name", "x: the inputs, y: the targets"),
        Column("error", tip=check.loss),
    )
    tried = sorted(check.corrections, key=lambda c: (math.isnan(c.error), c.error))
    rows = [(c.kind, c.change, c.error) for c in tried]
    error = (
        _last_value(check.reestimated)
        if reestimation_helps(check)
        else _last_value(check.inference)
    )
    rows = [(NO_VALUE, "no correction", error), *rows] if rows else []
    caption = f"Corrections of the validation data, and the error {prediction_mode(check)}"
    return Table(caption, columns, tuple(rows))


def reestimation_helps(check: ValidationCheck) -> bool:
    """Whether corrections and accuracy were measured with BatchNorm's statistics re-estimated."""
    return _last_value(check.train_reestimated) < _last_value(check.train_inference)


def prediction_mode(check: ValidationCheck) -> str:
    """How the model predicted when corrections and accuracy were measured."""
    helps = reestimation_helps(check)
    return "with BatchNorm's statistics re-estimated" if helps else "in inference mode"


def _last_value(values: Any) -> float:
    flat = np.ravel(values)
    return float(flat[-1]) if flat.size else math.nan


def callback_table(check: ValidationCheck) -> Table:
    """One row per callback that acted on a validation metric."""
    columns = (
        Column("callback", "name"),
        Column("monitors", "name"),
        Column("kept the weights of epoch"),
        Column("stopped after epoch"),
    )
    rows = tuple((c.kind, c.monitor, c.kept, c.stopped) for c in check.callbacks)
    return Table("Callbacks that acted on a validation metric", columns, rows)
