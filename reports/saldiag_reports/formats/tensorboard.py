"""``tensorboard/``: scalars, histograms, images of predictions, and the findings as text."""

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
from saldiag.core.wording import file_and_line, listed_names, plain, plain_lines
from saldiag_reports.content import hypothesis_text, layer_order
from saldiag_reports.content.data import ReportData
from saldiag_reports.content.thumbnails import MAX_SAMPLES, encode_png, png_size, to_pixels
from saldiag_reports.content.wording import shell_command, value_text, verdict_headline
from saldiag_reports.files import EVENTS_FILE, write_bytes
from saldiag_reports.formats.tensorboard_events import EventLog, escape_markdown, markdown_table


def write_tensorboard(data: ReportData, directory: Path) -> None:
    """Write the run's event file into ``directory``, atomically.

    Raises:
        RunError: the file cannot be written.
    """
    write_bytes(directory / EVENTS_FILE, render_events(data))


def render_events(data: ReportData) -> bytes:
    """The run as one TensorBoard event file; the same run gives the same bytes."""
    log = EventLog(_start_seconds(data.info.started))
    _add_findings(log, data)
    measured = data.measured
    if (history := measured.get(OverfitHistory)) is not None:
        _add_overfit(log, history)
    if (experiments := measured.get(Experiments)) is not None:
        _add_experiments(log, experiments)
    if (training := measured.get(TrainingHistory)) is not None:
        _add_training(log, training)
    if (check := measured.get(ValidationCheck)) is not None:
        _add_validation(log, check)
    if (gradients := measured.get(GradientHistory)) is not None:
        _add_gradients(log, gradients, data)
    if (histograms := measured.get(Histograms)) is not None:
        _add_histograms(log, histograms)
    if (predictions := measured.get(Predictions)) is not None:
        _add_predictions(log, predictions)
    return log.to_bytes()


def _start_seconds(started: str) -> float:
    """Start of the run in seconds since 1970 UTC; 0 if it is not known."""
    try:
        return datetime.fromisoformat(started).timestamp()
    except ValueError:
        return 0.0


def _add_findings(log: EventLog, data: ReportData) -> None:
    diagnosis = data.diagnosis
    parts = [f"# {escape_markdown(plain(verdict_headline(diagnosis)))}"]
    if diagnosis.verdict_reason and diagnosis.verdict != "not_tested":
        parts.append(_one_line(diagnosis.verdict_reason))
    parts += [_one_line(sentence) for sentence in hypothesis_text.run_sentences(data)]
    root = diagnosis.root_finding()
    if root is not None:
        where = f" at {escape_markdown(plain(file_and_line(root.source)))}" if root.source else ""
        parts.append(f"**{root.rule} {root.name}**{where}: {_one_line(root.message)}")
        parts.append(f"Fix: {_one_line(root.fix)}")
    parts.append(f"Reproduce: {escape_markdown(shell_command(data.info.command))}")
    log.add_text("saldiag/verdict", 0, "\n\n".join(parts))
    headings = ("rule", "severity", "layers", "message", "evidence", "explained by", "confirmed by")
    rows = [
        (
            f"{f.rule} {f.name}",
            f.severity,
            escape_markdown(plain(listed_names(f.layers))),
            _one_line(f.message),
            escape_markdown(plain(value_text(f.evidence))),
            f.explained_by or "",
            _one_line(hypothesis_text.confirmation_text(f, diagnosis.hypotheses)),
        )
        for f in diagnosis.findings
    ]
    log.add_text("saldiag/findings", 0, markdown_table(headings, rows) if rows else "None.")


def _one_line(text: str) -> str:
    return escape_markdown(" ".join(plain_lines(text).split()))


def _add_overfit(log: EventLog, history: OverfitHistory) -> None:
    curves = {
        "batch loss": (history.steps, history.loss),
        "training mode": (history.checked, history.training_error),
        "inference mode": (history.checked, history.inference_error),
    }
    for name, (steps, values) in curves.items():
        for step, value in zip(np.ravel(steps), np.ravel(values), strict=False):
            log.add_scalar(f"loss/{name}", int(step), float(value))
    # TensorBoard draws a line between two points: one at each end.
    ends = {0, int(max([0, *np.ravel(history.steps)]))}
    for name, value in (
        ("best constant", history.baseline_constant),
        ("best fixed prediction", history.baseline_independent),
        ("tenth of it", history.baseline_independent / 10),
    ):
        for step in sorted(ends):
            log.add_scalar(f"loss/baseline {name}", step, value)


def _add_experiments(log: EventLog, experiments: Experiments) -> None:
    """Score and error of every training; of the control only the longest."""
    for arm in (*experiments.controls[-1:], *experiments.arms):
        for curve in arm.curves:
            for kind, values in (("score", curve.score), ("error", curve.error)):
                for step, value in zip(curve.steps, values, strict=True):
                    log.add_scalar(f"experiments/{kind}/{arm.name}/seed {curve.seed}", step, value)


def _add_training(log: EventLog, history: TrainingHistory) -> None:
    for name, values in zip(history.names, np.atleast_2d(history.values), strict=False):
        for epoch, value in zip(history.epochs, values, strict=True):
            log.add_scalar(f"epoch/{name}", int(epoch), float(value))


def _add_validation(log: EventLog, check: ValidationCheck) -> None:
    """Errors in both modes at the steps of the checks, as far as they were measured."""
    for name, values in (
        ("validation/inference", check.inference),
        ("validation/training_mode", check.training),
        ("validation/reestimated", check.reestimated),
        ("validation/training items inference", check.train_inference),
        ("validation/training items training_mode", check.train_training),
        ("validation/training items reestimated", check.train_reestimated),
    ):
        for step, value in zip(np.ravel(check.steps), np.ravel(values), strict=False):
            log.add_scalar(name, int(step), float(value))


def _add_gradients(log: EventLog, history: GradientHistory, data: ReportData) -> None:
    layers = layer_order.in_network_order([v.layer for v in history.variables], data.measured)
    norms = layer_order.layer_norms(history, layers)
    for layer, row in zip(layers, norms, strict=True):
        for step, value in zip(history.steps, row, strict=True):
            log.add_scalar(f"gradient norm/{layer or '(model)'}", int(step), float(value))
    ratios = np.asarray(history.update_ratio, dtype=float)
    for index, variable in enumerate(history.variables):
        for step, value in zip(history.steps, ratios[:, index], strict=True):
            log.add_scalar(f"update ratio/{variable.path}", int(step), float(value))
    for step, value in zip(history.steps, np.ravel(history.loss), strict=False):
        log.add_scalar("loss/probed batch", int(step), float(value))


def _add_histograms(log: EventLog, histograms: Histograms) -> None:
    for index, name in enumerate(histograms.names):
        log.add_histogram(
            name, int(histograms.steps[index]), histograms.counts[index], histograms.edges[index]
        )


def _add_predictions(log: EventLog, predictions: Predictions) -> None:
    """Image, mask and prediction side by side."""
    for index, name in enumerate(predictions.names[:MAX_SAMPLES]):
        parts = (predictions.images, predictions.targets, predictions.predictions)
        side_by_side = np.concatenate([to_pixels(part[index]) for part in parts], axis=1)
        encoded = encode_png(side_by_side, longest=480)
        log.add_image(f"predictions/{name}", 0, *png_size(encoded), encoded)
