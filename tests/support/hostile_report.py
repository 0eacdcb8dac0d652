"""Runs that are out to break a report: names that attack, numbers that no axis can hold."""

from __future__ import annotations

import dataclasses
from itertools import cycle
from typing import Any, get_args

import numpy as np

from saldiag.core.findings.diagnosis import Diagnosis, RootCause, SubjectSummary
from saldiag.core.findings.finding import Finding, Skipped
from saldiag.core.findings.hypothesis import Hypothesis, HypothesisOutcome
from saldiag.core.measurement import (
    Arm,
    Curve,
    Experiments,
    FlowRow,
    GradientFlow,
    GradientHistory,
    Histograms,
    Measurement,
    Measurements,
    OverfitHistory,
    Predictions,
    RecordedWarning,
    Source,
    TrainingHistory,
    ValidationCheck,
    VariableInfo,
    WarningLog,
)
from saldiag.core.measurement.experiments import Stopped
from saldiag_reports.content.data import ReportData
from saldiag_reports.gallery import runs
from saldiag_reports.gallery import validation as validation_sample

NAMES = (
    "<script>alert(1)</script>",
    "</svg><img src=x onerror=alert(1)>",
    "]]></style><style>*{display:none}",
    "$x^2$ \\frac{1}{2} $",
    "a & b; c",
    "line\nbreak\r\n",
    "\x00\x07\x1b[31m\x9b",
    "\u202egnp.exe\u2066",
    "x" * 500,
    '" onload="alert(1)" x="',
    "{{ 7*7 }}{% raw %}",
    "[bold red]rich[/] [link=file:///]x[/link]",
    "層/größe 👩\u200d💻",
    "lone \udc80 surrogate",
    'url(#x) id="figure" #010101 var(--ink)',
    "| a | b |\n|---|---|",
    "",
)


def rename(value: Any, names: tuple[str, ...] = NAMES) -> Any:
    """``value`` with every text in it replaced by a hostile one, in turn."""
    turn = iter(range(10**9))

    def swap(item: Any) -> Any:
        if isinstance(item, str):
            return names[next(turn) % len(names)]
        if isinstance(item, tuple):
            return tuple(swap(part) for part in item)
        if isinstance(item, dict):
            return {
                f"{swap(key)}{index}": swap(part) for index, (key, part) in enumerate(item.items())
            }
        if dataclasses.is_dataclass(item) and not isinstance(item, type):
            fields = {f.name: swap(getattr(item, f.name)) for f in dataclasses.fields(item)}
            return type(item)(**fields)
        return item

    return swap(value)


def hostile() -> ReportData:
    """The broken sample with every text in it replaced; only what rules make keeps its form."""
    sample = runs.broken_run()
    measured = Measurements(
        {key: rename(value) for key, value in sample.measured.found.items()},
        {"training": NAMES[0], "histograms": NAMES[6]},
    )
    history = TrainingHistory(NAMES, np.arange(3), np.ones((len(NAMES), 3)))
    measured = measured.with_(
        WarningLog(tuple(RecordedWarning(n, n, n, 1, True, 1, Source(n, 2)) for n in NAMES)),
        dataclasses.replace(history, names=NAMES),
        Histograms(
            NAMES, np.arange(len(NAMES)), np.ones((len(NAMES), 4)), np.ones((len(NAMES), 5))
        ),
    )
    measured = measured.with_(experiments(), rename(validation()))
    cause = Finding(
        "SD101", "single-channel-softmax", "error", NAMES[0], NAMES[1], layers=NAMES,
        evidence=dict.fromkeys(NAMES, NAMES), source=Source(NAMES[2], 3), confirmed_by=NAMES[0],
    )  # fmt: skip
    others = tuple(
        Finding(
            "SD901", "silenced-warnings", "warning", n or "?", n, layers=(n,), explained_by="SD101"
        )
        for n in NAMES
    )
    diagnosis = Diagnosis(
        SubjectSummary(NAMES[0], NAMES[1], 1, 1), "does_not_learn",
        RootCause(cause.rule, cause.name, cause.layers, cause.source), (cause, *others),
        tuple(Skipped("SD102", n or "?") for n in NAMES),
        hypotheses(), dict.fromkeys(NAMES, 1.0),
    )  # fmt: skip
    info = dataclasses.replace(
        sample.info, command=NAMES, versions=dict.fromkeys(NAMES, NAMES[0]), notes=NAMES,
        config=dict.fromkeys(NAMES, NAMES[1]),
    )  # fmt: skip
    return ReportData(diagnosis, measured, info)


def hypotheses() -> tuple[Hypothesis, ...]:
    """One of each outcome by turns, in every text a name."""
    turn = cycle(get_args(HypothesisOutcome))
    return tuple(
        Hypothesis(
            n, n, n, next(turn), n, (n,), ("SD101",), NAMES, parts=(n, NAMES[0]) if n else (),
            mode=("training", "inference")[i % 2], seeds=i % 4, restored=i % 4, steps=i,
            score=(-1e30, 0.5), error=(1e30, float("inf")), effect=0.5, interval=(-0.5, 0.5),
        )
        for i, n in enumerate(NAMES)
    )  # fmt: skip


def experiments(*scores: float) -> Experiments:
    """An arm for each hostile name, with one curve through the scores."""
    scores = scores or (-1e30, 0.3, float("nan"), 0.7, float("inf"))
    steps = tuple(range(len(scores)))
    ends = cycle(get_args(Stopped))
    arms = tuple(
        Arm(
            n, n, n, (n,), mode="inference",
            curves=(Curve(0, steps, scores, scores, (0.5,), next(ends), 0.4, (0.6,)),),
        )
        for n in NAMES
    )  # fmt: skip
    return Experiments(arms[:1], arms, 8, float("inf"), NAMES[4], {n: (n,) for n in NAMES})


def overfit(loss: list[float], errors: list[float], baseline: float = 0.2) -> OverfitHistory:
    """An overfit history with the given numbers."""
    sample = runs.learning_run().measured.need(OverfitHistory)
    return dataclasses.replace(
        sample, steps=np.arange(1, len(loss) + 1), loss=np.array(loss, dtype=float),
        checked=np.arange(len(errors)), training_error=np.array(errors, dtype=float),
        inference_error=np.array(errors, dtype=float)[::-1], recalibrated_error=baseline,
        baseline_constant=baseline, baseline_independent=baseline,
    )  # fmt: skip


def gradients(norm: np.ndarray[Any, Any]) -> GradientHistory:
    """A gradient history of shape (steps, variables) with norms as given."""
    steps, count = norm.shape
    infos = tuple(
        VariableInfo(f"b{i % 7}/l{i}/w", f"b{i % 7}/l{i}", (2,), "f4") for i in range(count)
    )
    return GradientHistory(
        infos, np.arange(steps), norm, norm, norm, norm, norm, norm, norm, np.ones(steps),
        np.ones(steps), 3,
    )  # fmt: skip


def flow(pairs: list[tuple[float | None, float | None]]) -> GradientFlow:
    """A gradient flow through calls with the given gradients at output and input."""
    rows = tuple(
        FlowRow(f"b{i // 9}/l{i}", f"b{i // 9}/l{i}", "Dense", 1, True, after, before)
        for i, (after, before) in enumerate(pairs)
    )
    return GradientFlow(rows, (), 1.0, True)


def validation(**fields: Any) -> ValidationCheck:
    """The validation check of the sample that lags, with other fields as given."""
    sample = validation_sample.lagging_measurements().need(ValidationCheck)
    return dataclasses.replace(sample, **fields)


def predictions(images: np.ndarray[Any, Any], guessed: np.ndarray[Any, Any]) -> Predictions:
    """Predictions of the given values for masks of zeros."""
    count = len(images)
    names = tuple(f"s{index}" for index in range(count))
    return Predictions(names, images, np.zeros_like(guessed), guessed)


def with_measurement(data: ReportData, *measurements: Measurement) -> ReportData:
    """``data`` with other measurements."""
    return dataclasses.replace(data, measured=data.measured.with_(*measurements))
