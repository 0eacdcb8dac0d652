"""Sample reports from fixed numbers: what a report looks like, and what its tests compare with.

``python -m saldiag_reports.gallery.runs`` writes them again into ``reports/gallery`` of a checkout;
with ``--screenshot`` it also takes the picture that the README shows.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from saldiag.core.files.jsonio import write_text
from saldiag.core.files.run import RunInfo
from saldiag.core.findings.diagnosis import Diagnosis, RootCause, SubjectSummary
from saldiag.core.findings.edit import Edit
from saldiag.core.findings.finding import Finding, Skipped
from saldiag.core.measurement import (
    Baselines,
    DataFacts,
    LossCheck,
    Measurements,
    OverfitHistory,
    Predictions,
    RecordedWarning,
    Source,
    TensorFacts,
    WarningLog,
)
from saldiag_reports.content.data import ReportData
from saldiag_reports.gallery import network as made
from saldiag_reports.gallery import proof as proof_run
from saldiag_reports.gallery import validation as validation_run

DIRECTORY = Path(__file__).parents[2] / "gallery"
VERSIONS = {"saldiag": "0.1.0", "python": "3.11.2", "tensorflow": "2.21.0", "keras": "3.15.0"}
HEAD = Source(
    made.FILE,
    183,
    'return keras.layers.Activation("softmax", dtype="float32", name="softmax_output")(x)',
)


BEFORE = Source(
    made.FILE,
    182,
    'x = keras.layers.Conv2DTranspose(1, **convolution, activation="softmax", name="Convf2")(x)',
)


def broken() -> ReportData:
    """The case: one output channel through softmax, twice."""
    places = made.network("softmax")
    wiring = made.wiring("quicksal-as-reported", places)
    measured = Measurements.of(
        wiring,
        made.gradients(places, np.arange(3), cut=True),
        made.flow(places, cut=True),
        made.dtypes(places),
        made.trainable(places, cut=True),
        made.activations(places, cut=True),
        _facts(constant=True),
        LossCheck("mae", 0.7713, 0.7713, 0.0, 0.7713, 0.7713),
        _stuck(),
        _warnings(),
        _pictures(constant=True),
        missing={"training": "this command does not train", "histograms": "not asked for"},
    )
    findings = _findings()
    root = RootCause("SD101", "single-channel-softmax", findings[0].layers, HEAD)
    diagnosis = Diagnosis(
        SubjectSummary(wiring.model, "mae", wiring.parameters, wiring.trainable_parameters),
        "does_not_learn",
        root,
        findings,
        (Skipped("SD502", "no float16 loss scaling was asked for"),),
        timings={"building the model": 3.41, "following one batch": 9.8, "total": 21.7},
    )
    command = ("saldiag", "overfit", "--subset", "0.1", "--model", "quicksal-as-reported")
    return ReportData(diagnosis, measured, _info(command, measured))


def learns() -> ReportData:
    """The same network with a sigmoid: it learns, and one remark is left."""
    places = made.network("sigmoid")
    wiring = made.wiring("quicksal", places)
    measured = Measurements.of(
        wiring,
        made.gradients(places, made.STEPS, cut=False),
        made.flow(places, cut=False),
        made.dtypes(places),
        made.trainable(places, cut=False),
        made.activations(places, cut=False),
        _facts(constant=False),
        LossCheck("mae", 0.0104, 0.0104, 0.0, 0.0104, 0.0104),
        _memorised(),
        WarningLog(()),
        _pictures(constant=False),
        missing={"training": "this command does not train", "histograms": "not asked for"},
    )
    lag = Finding(
        "SD802", "inference-lags-training", "info",
        "after 60 steps the error is 0.01 in training mode and 0.156 in inference mode; with"
        " BatchNorm's statistics renewed it is 0.013: they lag, learning is sound",
        "keras.layers.BatchNormalization(momentum=0.9)",
        evidence={"training_error": 0.0104, "inference_error": 0.156, "recalibrated": 0.013},
        confidence=0.95,
    )  # fmt: skip
    diagnosis = Diagnosis(
        SubjectSummary(wiring.model, "mae", wiring.parameters, wiring.trainable_parameters),
        "learns",
        RootCause(lag.rule, lag.name, (), None),
        (lag,),
        timings={"building the model": 3.2, "memorising 8 items": 58.4, "total": 79.1},
    )
    return ReportData(
        diagnosis, measured, _info(("saldiag", "overfit", "--subset", "0.1"), measured)
    )


def bare() -> ReportData:
    """A run that was interrupted before anything was measured."""
    measured = Measurements.of(
        missing={"overfit": "interrupted before the first step", "flow": "interrupted"}
    )
    diagnosis = Diagnosis(
        SubjectSummary("quicksal", "mae", 0, 0),
        "inconclusive",
        None,
        (),
        (Skipped("SD101", "wiring not measured by this command"),),
    )
    command = ("saldiag", "overfit", "--data", "My Pictures")
    return ReportData(diagnosis, measured, _info(command, measured))


def proof() -> ReportData:
    """The case with experiments, as far as their budget went."""
    data = broken()
    places = made.network("softmax")
    measured = Measurements.of(
        made.wiring("quicksal-as-reported", places),
        _stuck(),
        proof_run.experiments(),
        missing={"training": "this command does not train"},
    )
    root, *others = data.diagnosis.findings
    diagnosis = replace(
        data.diagnosis,
        findings=(replace(root, confirmed_by="fitting-output"), *others),
        hypotheses=proof_run.HYPOTHESES,
        timings={"experiments": 118.2, "total": 139.9},
    )
    words = ("--suspect", proof_run.SUSPICION)
    command = (*data.info.command, "--experiments", "--budget", "2m", *words)
    return ReportData(diagnosis, measured, _info(command, measured))


def lags() -> ReportData:
    """A training whose ``val_loss`` lags: BatchNorm's statistics, which EarlyStopping obeyed."""
    measured = validation_run.measurements()
    command = ("saldiag", "run", "train.py")
    return ReportData(validation_run.diagnosis(), measured, _info(command, measured))


SAMPLES: dict[str, Callable[[], ReportData]] = {
    "broken": broken, "learns": learns, "bare": bare, "proof": proof, "lags": lags,
}  # fmt: skip


def _info(command: tuple[str, ...], measured: Measurements) -> RunInfo:
    return RunInfo(
        command, VERSIONS, seed=0, config={"subset": 0.1, "image_size": 96, "batch_size": 8},
        status="finished", started="2026-01-02T03:04:05Z", missing=dict(measured.missing),
    )  # fmt: skip


def _diff() -> str:
    """The repair of the case's head."""
    mended = (
        BEFORE.text.replace('"softmax"', "None"),
        HEAD.text.replace('"softmax"', '"sigmoid"'),
    )
    lines = (
        f"--- a/{made.FILE}",
        f"+++ b/{made.FILE}",
        "@@ -179,5 +179,5 @@",
        " def _softmax_head(x: Any) -> Any:",
        "     convolution: dict[str, Any] = "
        '{"kernel_size": 3, "padding": "same", "use_bias": False}',
        '     x = keras.layers.Conv2DTranspose(8, **convolution, name="Convf1")(x)',
        *(f"-    {text}" for text in (BEFORE.text, HEAD.text)),
        *(f"+    {text}" for text in mended),
    )
    return "".join(f"{line}\n" for line in lines)


def _findings() -> tuple[Finding, ...]:
    return (
        Finding(
            "SD101", "single-channel-softmax", "error",
            "softmax_output: softmax over an axis of size 1 is the constant 1.0; |dL/dx| before it"
            f" is 0 (after it 0.41). Use sigmoid: {made.FILE}:{HEAD.line}",
            'activation="sigmoid"  # in softmax_output; activation=None in Convf2',
            layers=("softmax_output", "Convf2"),
            evidence={"axis_size": 1, "gradient_after": 0.41, "gradient_before": 0.0},
            source=HEAD,
            edits=(
                Edit(HEAD, "Activation", "activation", "softmax", '"sigmoid"', "softmax_output"),
                Edit(BEFORE, "Conv2DTranspose", "activation", "softmax", "None", "Convf2"),
            ),
            diff=_diff(),
        ),
        Finding(
            "SD201", "gradient-cut", "error",
            "softmax_output: |dL/d(output)| is 0.41 and |dL/d(input)| is exactly 0; 53 layers"
            " before it get no gradient",
            "saldiag gradients --model quicksal-as-reported", layers=("softmax_output",),
            evidence={"output_gradient": 0.41, "input_gradient": 0.0, "threshold": 0.0},
            source=HEAD, explained_by="SD101",
        ),
        Finding(
            "SD302", "constant-output", "error",
            "the prediction is 1.0 for every input: its variation across samples is 0 (threshold"
            " 1e-06)",
            'Conv2DTranspose(1, 3, activation="sigmoid")', layers=("softmax_output",),
            evidence={"sample_variation": 0.0, "threshold": 1e-6}, explained_by="SD101",
        ),
        Finding(
            "SD104", "identical-branches", "warning",
            "inception_1: 4 parallel depthwise branches all have kernel size 1",
            "DepthwiseConv2D(kernel_size)  # not kernel_sizes[0]",
            layers=tuple(f"inception_{number}" for number in (1, 2, 3, 4, 5)), confidence=0.9,
            evidence={"branches": 4, "kernel_sizes": [1, 1, 1, 1]}, source=Source(made.FILE, 77),
        ),
        Finding(
            "SD901", "silenced-warnings", "warning",
            "Keras warned of the softmax once, and a filter of the program hid it",
            "delete the line warnings.filterwarnings(...)", layers=(),
            evidence={"silenced": 1}, source=Source(made.FILE, 21), explained_by=None,
        ),
    )  # fmt: skip


def _warnings() -> WarningLog:
    message = (
        "You are using a softmax over axis -1 of a tensor of shape (None, 96, 96, 1). This axis"
        " has size 1. The softmax operation will always return the value 1, which is likely not"
        " what you intended. Did you mean to use a sigmoid instead?"
    )
    where = Source(made.FILE, 21)
    return WarningLog(
        (RecordedWarning("UserWarning", message, made.FILE, HEAD.line, True, 2, where),)
    )  # fmt: skip


def _stuck() -> OverfitHistory:
    error = np.full(2, 0.7713)
    return OverfitHistory(
        "mae", 8, 80, 8, 96, np.arange(1, 4), np.full(3, 0.7713), np.array([0, 3]), error, error,
        float("nan"), 0.2287, 0.1912, 0.0, True, "no gradient", 120.0, 400,
    )  # fmt: skip


def _memorised() -> OverfitHistory:
    steps = np.arange(1, 61)
    checked = np.arange(0, 61, 5)
    curve = 0.52 * np.exp(-checked / 13.5) + 0.0042
    return OverfitHistory(
        "mae", 8, 80, 8, 96, steps, (0.52 * np.exp(-steps / 13.5) + 0.0045)
        * (1 + 0.08 * np.sin(steps * 2.3)),
        checked, curve, 0.37 * np.exp(-checked / 60) + 0.02, 0.013, 0.2287, 0.1912, 0.31, False,
        "memorised", 120.0, 400,
    )  # fmt: skip


def _facts(constant: bool) -> DataFacts:
    shape = (None, 96, 96, 1)
    predicted = (
        TensorFacts("prediction", shape, "float32", 1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 1)
        if constant
        else TensorFacts("prediction", shape, "float32", 0.0, 1.0, 0.23, 0.39, 0.0, 0.71, 1000)
    )
    return DataFacts(
        (
            TensorFacts(
                "image", (None, 96, 96, 3), "float32", -1.0, 1.0, -0.08, 0.52, 0.0, 0.8, 256
            ),
        ),
        (TensorFacts("mask", shape, "float32", 0.0, 1.0, 0.2287, 0.42, 0.0, 0.74, 2),),
        (predicted,),
        Baselines("mae", 0.2287, 0.0, 0.1912, "median"),
        8,
        (-1.0, 1.0),
    )  # fmt: skip


def _pictures(constant: bool) -> Predictions:
    """Discs on striped grounds, as the built-in sample has them."""
    y, x = np.mgrid[0:96, 0:96] / 95
    images, masks = [], []
    for index in range(4):
        middle = (0.35 + 0.1 * index, 0.6 - 0.07 * index)
        mask = (np.hypot(x - middle[0], y - middle[1]) < 0.2 + 0.03 * index).astype(float)
        ground = 0.45 + 0.2 * np.sin(x * (9 + 5 * index)) * np.cos(y * (14 - 2 * index))
        colour = np.array([0.85, 0.45 + 0.1 * index, 0.2 + 0.15 * index])
        shade = (0.8 + 0.2 * np.cos(12 * x + 5 * y))[..., None]
        images.append(np.where(mask[..., None] > 0, colour * shade, ground[..., None] * 0.9))
        masks.append(mask[..., None])
    targets = np.array(masks)
    soft = np.clip(targets * 0.97 + 0.02 * np.sin(9 * x)[None, ..., None], 0, 1)
    predictions = np.ones_like(targets) if constant else soft
    names = tuple(f"sample_{index:04d}" for index in range(4))
    return Predictions(names, np.clip(np.array(images), 0, 1), targets, predictions)


def write(directory: Path = DIRECTORY) -> list[Path]:
    """Write every sample in every text format; returns the files."""
    from saldiag_reports.formats.html import render_html
    from saldiag_reports.formats.json_document import render_json
    from saldiag_reports.formats.text import render_text

    renderers: dict[str, Callable[[ReportData], str]] = {
        "html": render_html, "txt": render_text, "json": render_json,
    }  # fmt: skip
    written = []
    for name, build in SAMPLES.items():
        data = build()
        for suffix, render in renderers.items():
            path = directory / f"{name}.{suffix}"
            write_text(path, render(data))
            written.append(path)
    return written


def screenshot(page: Path, picture: Path, size: tuple[int, int] = (1100, 860)) -> None:
    """Let a headless Chromium take a picture of the top of a page.

    Raises:
        FileNotFoundError: there is no Chromium on this machine.
    """
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        raise FileNotFoundError("no chromium on the PATH: install it, or leave --screenshot out")
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
    command += ["--disable-background-networking", f"--window-size={size[0]},{size[1]}"]
    command += [f"--screenshot={picture}", page.resolve().as_uri()]
    subprocess.run(command, check=True, capture_output=True)  # noqa: S603 - our own page


def main(arguments: list[str]) -> None:
    """Write the samples again, and with ``--screenshot PAGE`` the README's picture of it."""
    for path in write():
        sys.stdout.write(f"{path}\n")
    if "--screenshot" in arguments:
        screenshot(Path(arguments[-1]), DIRECTORY / "report.png")


if __name__ == "__main__":
    main(sys.argv[1:])
