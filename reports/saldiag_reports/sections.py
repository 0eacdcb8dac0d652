"""The report's sections, in order: what each says, and what is drawn under it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from markupsafe import Markup

from saldiag.core.measurement import (
    Activations,
    DataFacts,
    DtypeTrace,
    Experiments,
    GradientFlow,
    GradientHistory,
    HeldOutScores,
    LossCheck,
    Measurement,
    OverfitHistory,
    Predictions,
    TrainableStatus,
    TrainingHistory,
    ValidationCheck,
    WarningLog,
)
from saldiag.core.wording import first_names, grouped_count, grouped_number
from saldiag_reports import plots
from saldiag_reports.content import hypothesis_text, summaries, tables
from saldiag_reports.content.data import ReportData
from saldiag_reports.content.tables import Table
from saldiag_reports.content.thumbnails import MAX_SAMPLES, Sample, samples
from saldiag_reports.content.validation_tables import mode_of, validation_tables
from saldiag_reports.content.wording import MAX_ITEMS

GRADIENT_CUT = "SD201"
"""The rule that judges where the signal dies; the picture of the flow marks its layers."""


@dataclass(frozen=True)
class Section:
    """A heading, a sentence, and what is drawn and listed below it."""

    key: str
    title: str
    lead: str = ""
    pictures: tuple[Markup, ...] = ()
    tables: tuple[Table, ...] = ()
    samples: tuple[Sample, ...] = ()
    facts: dict[str, str] = field(default_factory=dict)


def sections(data: ReportData) -> list[Section]:
    """A section for each measurement that there is."""
    return list(_sections(data))


def _sections(data: ReportData) -> Iterator[Section]:
    for kind, _, build in _BUILDERS:
        found = data.measured.get(kind)
        if found is not None:
            yield build(data, found)


def missing(data: ReportData) -> dict[str, str]:
    """Title of each section that is not there, and why.

    Only a training run has held-out pictures; other reports don't list them.
    """
    return {
        title: data.measured.reason(kind)
        for kind, title, _ in _BUILDERS
        if data.measured.get(kind) is None
        and (kind is not HeldOutScores or kind.key in data.measured.missing)
    }


def _experiments(data: ReportData, found: Experiments) -> Section:
    hypotheses = data.diagnosis.hypotheses
    facts = {
        "trained on": grouped_count(found.items, "item"),
        "ended": _ENDED.get(found.ended, found.ended),
    }
    if math.isfinite(found.budget_seconds):
        facts["budget"] = hypothesis_text.span(found.budget_seconds)
    picture = plots.plot_experiments(found, hypotheses, "plot-experiments")
    listed = [tables.hypotheses(hypotheses)] if hypotheses else []
    listed += [tables.looks(found.looks)] if found.looks else []
    lead = f"{hypothesis_text.R2}."
    return Section("experiments", "Experiments", lead, (picture,), tuple(listed), facts=facts)


_ENDED = {"decided": "all was decided", "budget": "the budget was spent"}


def _learning(_: ReportData, history: OverfitHistory) -> Section:
    lead = (
        f"{grouped_count(history.items, 'item')} to memorise, "
        f"{grouped_count(len(history.steps), 'step')}; "
        f"stopped: {history.stopped}. Errors are {history.metric}, recomputed from the predictions."
    )
    facts = {
        "training mode": grouped_number(_last(history.training_error)),
        "inference mode": grouped_number(_last(history.inference_error)),
        "statistics renewed": grouped_number(history.recalibrated_error),
        "best fixed prediction": grouped_number(history.baseline_independent),
        "best constant": grouped_number(history.baseline_constant),
        "variation of predictions": grouped_number(history.prediction_variation),
    }
    if math.isfinite(history.validation_error):
        facts["on items not memorised"] = grouped_number(history.validation_error)
    return Section(
        "learning", "Learning", lead, (plots.plot_overfit(history, "plot-learning"),), facts=facts
    )


def _last(values: Any) -> float:
    flat = np.ravel(values)
    return float(flat[-1]) if flat.size else float("nan")


def _training(_: ReportData, history: TrainingHistory) -> Section:
    lead = f"{grouped_count(len(history.epochs), 'epoch')}; validation in the second colour."
    return Section("training", "Training", lead, (plots.plot_training(history, "plot-training"),))


def _validation(data: ReportData, check: ValidationCheck) -> Section:
    facts, checks = data.measured.get(DataFacts), len(np.ravel(check.checked))
    baseline = facts.baselines.independent if facts and facts.baselines else float("nan")
    earlier = " Earlier checks have at most as many." if checks > 1 else ""
    lead = (
        f"{grouped_count(check.items, 'validation item')} and "
        f"{grouped_count(check.training_items, 'training item')} in the last check.{earlier} "
        f"Errors are {check.loss}, recomputed from the predictions without regularisation."
    )
    picture = plots.plot_validation(
        check, data.measured.get(TrainingHistory), baseline, "plot-validation"
    )
    return Section(
        "validation", "Validation", lead, (picture,), validation_tables(check),
        facts=_validation_facts(check),
    )  # fmt: skip


def _validation_facts(check: ValidationCheck) -> dict[str, str]:
    """What was measured once, as far as it was."""
    measured = {
        f"accuracy {mode_of(check)}": check.accuracy,
        "accuracy with classes renamed": check.mapped_accuracy if check.mapping else float("nan"),
        "nearest to their own target": check.paired_with_own,
        "nearest to another item's target": check.paired_with_other,
        "difference of two inference passes": check.repeat_difference,
        "difference with other items in the batch": check.company_difference,
    }
    facts = {name: _percent(value) for name, value in measured.items() if math.isfinite(value)}
    renamed = [f"{predicted} is {label}" for predicted, label in check.mapping]
    if renamed:
        facts["predicted class is label"] = first_names(renamed, MAX_ITEMS)
    if check.active:
        facts["random or batch-dependent in inference"] = first_names(check.active, MAX_ITEMS)
    part = check.seconds / check.training_seconds if check.training_seconds > 0 else float("nan")
    of_training = f" ({_percent(part)} of the training)" if math.isfinite(part) else ""
    facts["time for checks during training"] = f"{grouped_number(check.seconds)} s{of_training}"
    facts["time for the last check"] = f"{grouped_number(check.last_seconds)} s"
    return facts


def _percent(value: float) -> str:
    """A ratio that may be above 1, as a percentage."""
    return f"{grouped_number(100 * value)}%"


def _held_out(_: ReportData, found: HeldOutScores) -> Section:
    lead = f"{summaries.held_out(found)} {summaries.SCORED}."
    return Section("held-out", "Held-out pictures", lead, tables=(tables.mask_scores(found.rows),))


def _predictions(_: ReportData, measured: Predictions) -> Section:
    shown = samples(measured)
    more = len(measured.names) - MAX_SAMPLES
    lead = "Image, mask and prediction in inference mode" + (
        f"; {more:,} more not shown." if more > 0 else "."
    )
    return Section("predictions", "Predictions", lead, samples=tuple(shown))


def _flow(data: ReportData, measured: GradientFlow) -> Section:
    judged = [f for f in data.diagnosis.findings if f.rule == GRADIENT_CUT]
    dies_in = {layer for finding in judged for layer in finding.layers}
    mode = "training" if measured.training else "inference"
    lead = (
        f"One batch in {mode} mode, loss {grouped_number(measured.loss)}; input left, output right."
    )
    return Section(
        "flow", "Gradient flow", lead, (plots.plot_flow(measured, dies_in, "plot-flow"),),
        (tables.flow(measured),),
    )  # fmt: skip


def _gradients(data: ReportData, history: GradientHistory) -> Section:
    lead = (
        f"{grouped_count(len(history.variables), 'variable')} over "
        f"{grouped_count(len(history.steps), 'step')}, "
        "from the gradients of the training step itself; network input at the top."
    )
    picture = plots.plot_gradients(history, data.measured, "plot-gradients")
    return Section("gradients", "Gradients", lead, (picture,), (tables.gradients(history),))


def _activations(_: ReportData, measured: Activations) -> Section:
    mode = "training" if measured.training else "inference"
    lead = f"Layer outputs over one batch of {measured.batch_size} in {mode} mode."
    return Section("activations", "Activations", lead, tables=(tables.activations(measured),))


def _data(data: ReportData, measured: DataFacts) -> Section:
    facts = {}
    if measured.expected_range is not None:
        low, high = measured.expected_range
        facts["input expected in"] = f"[{grouped_number(low)}, {grouped_number(high)}]"
    if (base := measured.baselines) is not None:
        facts["best constant"] = (
            f"{grouped_number(base.constant)} (predicting {grouped_number(base.constant_value)})"
        )
        facts["best fixed prediction"] = (
            f"{grouped_number(base.independent)} ({base.independent_kind})"
        )
        facts["baselines in"] = base.metric
    elif measured.no_baselines:
        facts["no baselines"] = measured.no_baselines
    if (check := data.measured.get(LossCheck)) is not None:
        facts["loss as Keras reports it"] = grouped_number(check.reported)
        facts["the same, recomputed"] = grouped_number(check.recomputed)
    lead = f"Measured over {grouped_count(measured.samples, 'sample')}."
    return Section("data", "Data and loss", lead, tables=(tables.tensors(measured),), facts=facts)


def _dtypes(_: ReportData, trace: DtypeTrace) -> Section:
    listed = (tables.dtypes(trace), *([tables.casts(trace)] if trace.casts else []))
    return Section("dtypes", "Precision", summaries.dtypes(trace), tables=listed)


def _trainable(_: ReportData, status: TrainableStatus) -> Section:
    listed = [tables.trainable(status)]
    listed += [tables.normalization(status)] if status.normalization else []
    return Section("trainable", "Trainable", summaries.trainable(status), tables=tuple(listed))


def _warnings(_: ReportData, log: WarningLog) -> Section:
    silenced = sum(warning.silenced for warning in log.warnings)
    if not log.warnings:
        return Section("warnings", "Framework warnings", "None was raised.")
    lead = (
        f"{grouped_count(len(log.warnings), 'warning')}, of which the program silenced {silenced}."
    )
    return Section("warnings", "Framework warnings", lead, tables=(tables.warnings(log),))


Builder = Callable[[ReportData, Any], Section]
_BUILDERS: tuple[tuple[type[Measurement], str, Builder], ...] = (
    (Experiments, "Experiments", _experiments),
    (OverfitHistory, "Learning", _learning),
    (TrainingHistory, "Training", _training),
    (ValidationCheck, "Validation", _validation),
    (HeldOutScores, "Held-out pictures", _held_out),
    (Predictions, "Predictions", _predictions),
    (GradientFlow, "Gradient flow", _flow),
    (GradientHistory, "Gradients", _gradients),
    (Activations, "Activations", _activations),
    (DataFacts, "Data and loss", _data),
    (DtypeTrace, "Precision", _dtypes),
    (TrainableStatus, "Trainable", _trainable),
    (WarningLog, "Framework warnings", _warnings),
)
