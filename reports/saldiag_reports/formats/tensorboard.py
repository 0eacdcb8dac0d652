"""``tensorboard/``: histograms, scalars, prediction images, and the findings as text."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import numpy as np

from saldiag.core.measurement import (
    Experiments,
    GradientHistory,
    Histograms,
    OverfitHistory,
    Predictions,
    TrainingHistory,
    ValidationCheck,
)
from saldiag.core.wording import first_names, location, visible_lines, visible_text
from saldiag_reports.content import hypothesis_text, layer_order
from saldiag_reports.content.data import ReportData
from saldiag_reports.content.thumbnails import MAX_SAMPLES, pixels, png, size_of
from saldiag_reports.content.wording import headline, shell_command, value_text
from saldiag_reports.files import EVENTS_FILE, write_bytes
from saldiag_reports.formats.tensorboard_events import EventLog, escaped, table


def write_tensorboard(data: ReportData, directory: Path) -> None:
    """Write the run's event file into ``directory``, as a whole or not at all.

    Raises:
        RunError: it cannot be written.
    """
    write_bytes(directory / EVENTS_FILE, render_events(data))


def render_events(data: ReportData) -> bytes:
    """The run as one TensorBoard event file; the same run gives the same bytes."""
    log = EventLog(_seconds(data.info.started))
    _findings(log, data)
    measured = data.measured
    if (history := measured.get(OverfitHistory)) is not None:
        _overfit(log, history)
    if (experiments := measured.get(Experiments)) is not None:
        _experiments(log, experiments)
    if (training := measured.get(TrainingHistory)) is not None:
        _training(log, training)
    if (check := measured.get(ValidationCheck)) is not None:
        _validation(log, check)
    if (gradients := measured.get(GradientHistory)) is not None:
        _gradients(log, gradients, data)
    if (histograms := measured.get(Histograms)) is not None:
        _histograms(log, histograms)
    if (predictions := measured.get(Predictions)) is not None:
        _predictions(log, predictions)
    return log.to_bytes()


def _seconds(started: str) -> float:
    """When the run began, in seconds since 1970; 0 where it is not known."""
    try:
        return datetime.fromisoformat(started).timestamp()
    except ValueError:
        return 0.0


def _findings(log: EventLog, data: ReportData) -> None:
    diagnosis = data.diagnosis
    parts = [f"# {escaped(visible_text(headline(diagnosis)))}"]
    if diagnosis.verdict_reason and diagnosis.verdict != "not_tested":
        parts.append(_inline(diagnosis.verdict_reason))
    parts += [_inline(sentence) for sentence in hypothesis_text.of(data)]
    root = diagnosis.root_finding()
    if root is not None:
        where = f" at {escaped(visible_text(location(root.source)))}" if root.source else ""
        parts.append(f"**{root.rule} {root.name}**{where}: {_inline(root.message)}")
        parts.append(f"Fix: {_inline(root.fix)}")
    parts.append(f"Reproduce: {escaped(shell_command(data.info.command))}")
    log.text("saldiag/verdict", 0, "\n\n".join(parts))
    headings = ("rule", "severity", "layers", "message", "evidence", "explained by", "confirmed by")
    rows = [
        (
            f"{f.rule} {f.name}",
            f.severity,
            escaped(visible_text(first_names(f.layers))),
            _inline(f.message),
            escaped(visible_text(value_text(f.evidence))),
            f.explained_by or "",
            _inline(hypothesis_text.confirmation(f, diagnosis.hypotheses)),
        )
        for f in diagnosis.findings
    ]
    log.text("saldiag/findings", 0, table(headings, rows) if rows else "None.")


def _inline(text: str) -> str:
    return escaped(" ".join(visible_lines(text).split()))


def _overfit(log: EventLog, history: OverfitHistory) -> None:
    curves = {
        "batch loss": (history.steps, history.loss),
        "training mode": (history.checked, history.training_error),
        "inference mode": (history.checked, history.inference_error),
    }
    for name, (steps, values) in curves.items():
        for step, value in zip(np.ravel(steps), np.ravel(values), strict=False):
            log.scalar(f"loss/{name}", int(step), float(value))
    # A baseline is a line, and a line has two ends.
    ends = {0, int(max([0, *np.ravel(history.steps)]))}
    for name, value in (
        ("best constant", history.baseline_constant),
        ("best fixed prediction", history.baseline_independent),
        ("tenth of it", history.baseline_independent / 10),
    ):
        for step in sorted(ends):
            log.scalar(f"loss/baseline {name}", step, value)


def _experiments(log: EventLog, found: Experiments) -> None:
    """Score and error of every training; of the control the longest."""
    for arm in (*found.controls[-1:], *found.arms):
        for curve in arm.curves:
            for kind, values in (("score", curve.score), ("error", curve.error)):
                for step, value in zip(curve.steps, values, strict=True):
                    log.scalar(f"experiments/{kind}/{arm.name}/seed {curve.seed}", step, value)


def _training(log: EventLog, history: TrainingHistory) -> None:
    for name, values in zip(history.names, np.atleast_2d(history.values), strict=False):
        for epoch, value in zip(history.epochs, values, strict=True):
            log.scalar(f"epoch/{name}", int(epoch), float(value))


def _validation(log: EventLog, check: ValidationCheck) -> None:
    """Errors of both modes at the steps of the checks; what was not measured is left out."""
    for name, values in (
        ("validation/inference", check.inference),
        ("validation/training_mode", check.training),
        ("validation/reestimated", check.reestimated),
        ("validation/training items inference", check.train_inference),
        ("validation/training items training_mode", check.train_training),
        ("validation/training items reestimated", check.train_reestimated),
    ):
        for step, value in zip(np.ravel(check.steps), np.ravel(values), strict=False):
            log.scalar(name, int(step), float(value))


def _gradients(log: EventLog, history: GradientHistory, data: ReportData) -> None:
    layers = layer_order.in_network_order([v.layer for v in history.variables], data.measured)
    norms = layer_order.layer_norms(history, layers)
    for layer, row in zip(layers, norms, strict=True):
        for step, value in zip(history.steps, row, strict=True):
            log.scalar(f"gradient norm/{layer or '(model)'}", int(step), float(value))
    ratios = np.asarray(history.update_ratio, dtype=float)
    for index, variable in enumerate(history.variables):
        for step, value in zip(history.steps, ratios[:, index], strict=True):
            log.scalar(f"update ratio/{variable.path}", int(step), float(value))
    for step, value in zip(history.steps, np.ravel(history.loss), strict=False):
        log.scalar("loss/probed batch", int(step), float(value))


def _histograms(log: EventLog, histograms: Histograms) -> None:
    for index, name in enumerate(histograms.names):
        log.histogram(
            name, int(histograms.steps[index]), histograms.counts[index], histograms.edges[index]
        )


def _predictions(log: EventLog, predictions: Predictions) -> None:
    """Image, mask and prediction side by side."""
    for index, name in enumerate(predictions.names[:MAX_SAMPLES]):
        parts = (predictions.images, predictions.targets, predictions.predictions)
        beside = np.concatenate([pixels(part[index]) for part in parts], axis=1)
        encoded = png(beside, longest=480)
        log.image(f"predictions/{name}", 0, *size_of(encoded), encoded)
