"""The sections of the HTML report, in order: texts, plots and tables of each measurement."""

from __future__ import annotations

import math
from collections.abc import Callable
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
from saldiag.core.wording import grouped_count, grouped_number, listed_names
from saldiag_reports import plots
from saldiag_reports.content import hypothesis_text, summaries, tables
from saldiag_reports.content.data import ReportData
from saldiag_reports.content.tables import Table
from saldiag_reports.content.thumbnails import MAX_SAMPLES, SampleRow, sample_rows
from saldiag_reports.content.validation_tables import prediction_mode, validation_tables
from saldiag_reports.content.wording import MAX_LISTED_ITEMS

GRADIENT_CUT = "gradient-cut"
"""Name of the rule whose layers are marked in the plot of the gradient flow."""


@dataclass(frozen=True)
class Section:
    """One section of the page."""

    key: str
    """The id of the section on the page."""
    title: str
    """The heading."""
    lead: str = ""
    """One or two sentences below the heading; empty for none."""
    pictures: tuple[Markup, ...] = ()
    """Plots as inline SVG, with the notes below them."""
    tables: tuple[Table, ...] = ()
    """Tables, at the end of the section."""
    samples: tuple[SampleRow, ...] = ()
    """Images, masks and predictions."""
    facts: dict[str, str] = field(default_factory=dict)
    """Single numbers as text, by label."""


def report_sections(data: ReportData) -> list[Section]:
    """The section of each measurement of the run."""
    measured = [(data.measured.get(kind), build) for kind, _, build in _BUILDERS]
    return [build(data, found) for found, build in measured if found is not None]


def missing_sections(data: ReportData) -> dict[str, str]:
    """Title of each section that the report does not have, and why.

    Held-out images are listed only for training runs: no other run has them.
    """
    return {
        title: data.measured.reason(kind)
        for kind, title, _ in _BUILDERS
        if data.measured.get(kind) is None
        and (kind is not HeldOutScores or kind.key in data.measured.missing)
    }


def _experiments_section(data: ReportData, experiments: Experiments) -> Section:
    hypotheses = data.diagnosis.hypotheses
    facts = {
        "trained on": grouped_count(experiments.items, "sample"),
        "ended": _ENDINGS.get(experiments.ended, experiments.ended),
    }
    if math.isfinite(experiments.budget_seconds):
        facts["time limit"] = hypothesis_text.duration_text(experiments.budget_seconds)
    picture = plots.plot_experiments(experiments, hypotheses, "plot-experiments")
    listed = [tables.hypothesis_table(hypotheses)] if hypotheses else []
    listed += [tables.layer_probe_table(experiments.looks)] if experiments.looks else []
    lead = f"{hypothesis_text.R2_EXPLANATION}."
    return Section("experiments", "Experiments", lead, (picture,), tuple(listed), facts=facts)


_ENDINGS = {"decided": "all hypotheses were decided", "budget": "the time limit was reached"}
"""Text for the reasons why experiments end; others are shown as they are."""


def _learning_section(_: ReportData, history: OverfitHistory) -> Section:
    lead = (
        f"{grouped_count(history.items, 'sample')} to memorise, "
        f"{grouped_count(len(history.steps), 'step')}; "
        f"stopped: {history.stopped}. Errors are {history.metric}, recomputed from the predictions."
    )
    facts = {
        "training-mode error": grouped_number(_last_value(history.training_error)),
        "inference-mode error": grouped_number(_last_value(history.inference_error)),
        "inference-mode error, statistics re-estimated": grouped_number(history.recalibrated_error),
        "baseline error": grouped_number(history.baseline_independent),
        "best constant's error": grouped_number(history.baseline_constant),
        "variation of predictions": grouped_number(history.prediction_variation),
    }
    if math.isfinite(history.validation_error):
        facts["error on other samples"] = grouped_number(history.validation_error)
    return Section(
        "learning",
        "Overfit test",
        lead,
        (plots.plot_overfit(history, "plot-learning"),),
        facts=facts,
    )


def _last_value(values: Any) -> float:
    flat = np.ravel(values)
    return float(flat[-1]) if flat.size else float("nan")


def _training_section(_: ReportData, history: TrainingHistory) -> Section:
    lead = (
        f"{grouped_count(len(history.epochs), 'epoch')}. The second colour is the validation data."
    )
    return Section("training", "Training", lead, (plots.plot_training(history, "plot-training"),))


def _validation_section(data: ReportData, check: ValidationCheck) -> Section:
    facts, checks = data.measured.get(DataFacts), len(np.ravel(check.checked))
    baseline = facts.baselines.independent if facts and facts.baselines else float("nan")
    earlier = " Earlier checks used at most as many." if checks > 1 else ""
    samples = grouped_count(check.items, "validation sample")
    training_samples = grouped_count(check.training_items, "training sample")
    lead = (
        f"{samples} and {training_samples} in the last check.{earlier} Errors are {check.loss}, "
        "recomputed from the predictions without regularization losses."
    )
    picture = plots.plot_validation(
        check, data.measured.get(TrainingHistory), baseline, "plot-validation"
    )
    return Section(
        "validation", "Validation", lead, (picture,), validation_tables(check),
        facts=_validation_facts(check),
    )  # fmt: skip


def _validation_facts(check: ValidationCheck) -> dict[str, str]:
    """Numbers of the last check; those that were not measured are left out."""
    measured = {
        f"accuracy {prediction_mode(check)}": check.accuracy,
        "accuracy with classes renamed": check.mapped_accuracy if check.mapping else float("nan"),
        "predictions nearest to their own target": check.paired_with_own,
        "predictions nearest to another sample's target": check.paired_with_other,
        "difference between two inference passes": check.repeat_difference,
        "difference with other samples in the batch": check.company_difference,
    }
    facts = {name: _percent_text(value) for name, value in measured.items() if math.isfinite(value)}
    renamed = [f"{predicted} is {label}" for predicted, label in check.mapping]
    if renamed:
        facts["predicted class is label"] = listed_names(renamed, MAX_LISTED_ITEMS)
    if check.active:
        facts["layers that are random or batch-dependent in inference"] = listed_names(
            check.active, MAX_LISTED_ITEMS
        )
    part = check.seconds / check.training_seconds if check.training_seconds > 0 else float("nan")
    of_training = f" ({_percent_text(part)} of the training)" if math.isfinite(part) else ""
    facts["time for checks during training"] = f"{grouped_number(check.seconds)} s{of_training}"
    facts["time for the last check"] = f"{grouped_number(check.last_seconds)} s"
    return facts


def _percent_text(value: float) -> str:
    """A ratio, which may be above 1, as a percentage."""
    return f"{grouped_number(100 * value)}%"


def _held_out_section(_: ReportData, scores: HeldOutScores) -> Section:
    lead = f"{summaries.held_out_summary(scores)} {summaries.MASK_SCORING}."
    return Section(
        "held-out", "Held-out images", lead, tables=(tables.mask_score_table(scores.rows),)
    )


def _predictions_section(_: ReportData, measured: Predictions) -> Section:
    shown = sample_rows(measured)
    more = len(measured.names) - MAX_SAMPLES
    lead = "Image, mask and prediction in inference mode." + (
        f" {more:,} more are not shown." if more > 0 else ""
    )
    return Section("predictions", "Predictions", lead, samples=tuple(shown))


def _flow_section(data: ReportData, measured: GradientFlow) -> Section:
    cuts = [f for f in data.diagnosis.findings if f.name == GRADIENT_CUT]
    cut_layers = {layer for finding in cuts for layer in finding.layers}
    mode = "training" if measured.training else "inference"
    lead = (
        f"One batch in {mode} mode, loss {grouped_number(measured.loss)}. The input is on the "
        "left, the output on the right."
    )
    return Section(
        "flow", "Gradient flow", lead, (plots.plot_flow(measured, cut_layers, "plot-flow"),),
        (tables.flow_table(measured),),
    )  # fmt: skip


def _gradients_section(data: ReportData, history: GradientHistory) -> Section:
    variables = grouped_count(len(history.variables), "variable")
    steps = grouped_count(len(history.steps), "step")
    lead = (
        f"{variables} over {steps}. The norms are those of the gradients that training computed. "
        "The network's input is at the top."
    )
    picture = plots.plot_gradients(history, data.measured, "plot-gradients")
    return Section("gradients", "Gradients", lead, (picture,), (tables.gradient_table(history),))


def _activations_section(_: ReportData, measured: Activations) -> Section:
    mode = "training" if measured.training else "inference"
    lead = f"Outputs of the layers for one batch of {measured.batch_size} in {mode} mode."
    return Section("activations", "Activations", lead, tables=(tables.activation_table(measured),))


def _data_section(data: ReportData, measured: DataFacts) -> Section:
    facts = {}
    if measured.expected_range is not None:
        low, high = measured.expected_range
        facts["expected input range"] = f"[{grouped_number(low)}, {grouped_number(high)}]"
    if (base := measured.baselines) is not None:
        facts["best constant's error"] = (
            f"{grouped_number(base.constant)} (predicting {grouped_number(base.constant_value)})"
        )
        facts["baseline error"] = f"{grouped_number(base.independent)} ({base.independent_kind})"
        facts["error metric"] = base.metric
    elif measured.no_baselines:
        facts["no baseline errors"] = measured.no_baselines
    if (check := data.measured.get(LossCheck)) is not None:
        facts["loss reported by Keras"] = grouped_number(check.reported)
        facts["loss recomputed"] = grouped_number(check.recomputed)
    lead = f"Measured over {grouped_count(measured.samples, 'sample')}."
    return Section(
        "data", "Data and loss", lead, tables=(tables.tensor_table(measured),), facts=facts
    )


def _dtypes_section(_: ReportData, trace: DtypeTrace) -> Section:
    listed = (tables.dtype_table(trace), *([tables.cast_table(trace)] if trace.casts else []))
    return Section("dtypes", "Precision", summaries.dtype_summary(trace), tables=listed)


def _trainable_section(_: ReportData, status: TrainableStatus) -> Section:
    listed = [tables.trainable_table(status)]
    listed += [tables.normalization_table(status)] if status.normalization else []
    return Section(
        "trainable",
        "Trainable variables",
        summaries.trainable_summary(status),
        tables=tuple(listed),
    )


def _warnings_section(_: ReportData, log: WarningLog) -> Section:
    silenced = sum(warning.silenced for warning in log.warnings)
    if not log.warnings:
        return Section("warnings", "Framework warnings", "No warnings.")
    lead = (
        f"{grouped_count(len(log.warnings), 'warning')}; the program silenced {silenced} of them."
    )
    return Section("warnings", "Framework warnings", lead, tables=(tables.warning_table(log),))


Builder = Callable[[ReportData, Any], Section]
_BUILDERS: tuple[tuple[type[Measurement], str, Builder], ...] = (  # in the order of the page
    (Experiments, "Experiments", _experiments_section),
    (OverfitHistory, "Overfit test", _learning_section),
    (TrainingHistory, "Training", _training_section),
    (ValidationCheck, "Validation", _validation_section),
    (HeldOutScores, "Held-out images", _held_out_section),
    (Predictions, "Predictions", _predictions_section),
    (GradientFlow, "Gradient flow", _flow_section),
    (GradientHistory, "Gradients", _gradients_section),
    (Activations, "Activations", _activations_section),
    (DataFacts, "Data and loss", _data_section),
    (DtypeTrace, "Precision", _dtypes_section),
    (TrainableStatus, "Trainable variables", _trainable_section),
    (WarningLog, "Framework warnings", _warnings_section),
)
