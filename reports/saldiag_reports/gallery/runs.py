"""Sample reports from fixed numbers, which the tests compare with.

``python -m saldiag_reports.gallery.runs`` writes them into ``reports/gallery`` of a checkout; with
``--screenshot PAGE`` it also makes the README's picture of that page.
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
from saldiag_reports.gallery import proof as proof_sample
from saldiag_reports.gallery import validation as validation_sample

DIRECTORY = Path(__file__).parents[2] / "gallery"
VERSIONS = {"saldiag": "0.1.0", "python": "3.11.2", "tensorflow": "2.21.0", "keras": "3.15.0"}
SOFTMAX_LINE = Source(
    made.FILE,
    183,
    'return keras.layers.Activation("softmax", dtype="float32", name="softmax_output")(x)',
)
AT_SOFTMAX = f"quicksal/as_reported.py:{SOFTMAX_LINE.line}"

CONVOLUTION_LINE = Source(
    made.FILE,
    182,
    'x = keras.layers.Conv2DTranspose(1, **convolution, activation="softmax", name="Convf2")(x)',
)


def broken_run() -> ReportData:
    """A model whose single output channel goes through softmax twice: it does not learn."""
    layers = made.sample_network("softmax")
    wiring = made.make_wiring("quicksal-as-reported", layers)
    measured = Measurements.of(
        wiring,
        made.make_gradients(layers, np.arange(3), cut=True),
        made.make_flow(layers, cut=True),
        made.make_dtypes(layers),
        made.make_trainable(layers, cut=True),
        made.make_activations(layers, cut=True),
        _data_facts(constant=True),
        LossCheck("mae", 0.7713, 0.7713, 0.0, 0.7713, 0.7713),
        _stuck_history(),
        _keras_warnings(),
        _sample_pictures(constant=True),
        missing={"training": "this command does not train", "histograms": "not requested"},
    )
    findings = _broken_findings()
    root = RootCause("SD101", "single-channel-softmax", findings[0].layers, SOFTMAX_LINE)
    diagnosis = Diagnosis(
        SubjectSummary(wiring.model, "mae", wiring.parameters, wiring.trainable_parameters),
        "does_not_learn",
        root,
        findings,
        (Skipped("SD502", "the model is not trained in float16"),),
        timings={"building the model": 3.41, "following one batch": 9.8, "total": 21.7},
    )
    command = ("saldiag", "overfit", "--subset", "0.1", "--model", "quicksal-as-reported")
    return ReportData(diagnosis, measured, _run_info(command, measured))


def learning_run() -> ReportData:
    """The same network with sigmoid: it learns, and has one finding of severity info."""
    layers = made.sample_network("sigmoid")
    wiring = made.make_wiring("quicksal", layers)
    measured = Measurements.of(
        wiring,
        made.make_gradients(layers, made.STEPS, cut=False),
        made.make_flow(layers, cut=False),
        made.make_dtypes(layers),
        made.make_trainable(layers, cut=False),
        made.make_activations(layers, cut=False),
        _data_facts(constant=False),
        LossCheck("mae", 0.0104, 0.0104, 0.0, 0.0104, 0.0104),
        _memorised_history(),
        WarningLog(()),
        _sample_pictures(constant=False),
        missing={"training": "this command does not train", "histograms": "not requested"},
    )
    lag = Finding(
        "SD802",
        "inference-lags-training",
        "info",
        "training-mode error 0.0104, inference-mode error 0.156: the gap is 0.761 times the"
        " baseline error (threshold 0.1); with BatchNorm's statistics re-estimated the error is"
        " 0.013. After 60 steps with momentum 0.99 the moving statistics still contain 0.547 of"
        " their initial values; 459 steps reduce that to 0.01. Train longer, or lower the momentum",
        "keras.layers.BatchNormalization(momentum=0.9)",
        evidence={"training_error": 0.0104, "inference_error": 0.156, "recalibrated": 0.013},
        confidence=0.95,
    )
    diagnosis = Diagnosis(
        SubjectSummary(wiring.model, "mae", wiring.parameters, wiring.trainable_parameters),
        "learns",
        RootCause(lag.rule, lag.name, (), None),
        (lag,),
        timings={"building the model": 3.2, "memorising 8 items": 58.4, "total": 79.1},
    )
    return ReportData(
        diagnosis, measured, _run_info(("saldiag", "overfit", "--subset", "0.1"), measured)
    )


def bare_run() -> ReportData:
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
    return ReportData(diagnosis, measured, _run_info(command, measured))


def experiments_run() -> ReportData:
    """The model with softmax and its experiments, which ended at their time limit."""
    data = broken_run()
    layers = made.sample_network("softmax")
    measured = Measurements.of(
        made.make_wiring("quicksal-as-reported", layers),
        _stuck_history(),
        proof_sample.sample_experiments(),
        missing={"training": "this command does not train"},
    )
    root, *others = data.diagnosis.findings
    diagnosis = replace(
        data.diagnosis,
        findings=(replace(root, confirmed_by="fitting-output"), *others),
        hypotheses=proof_sample.HYPOTHESES,
        timings={"experiments": 118.2, "total": 139.9},
    )
    words = ("--suspect", proof_sample.SUSPICION)
    command = (*data.info.command, "--experiments", "--budget", "2m", *words)
    return ReportData(diagnosis, measured, _run_info(command, measured))


def lagging_run() -> ReportData:
    """A training whose ``val_loss`` lags behind because of BatchNorm; EarlyStopping stopped it."""
    measured = validation_sample.lagging_measurements()
    command = ("saldiag", "run", "train.py")
    return ReportData(validation_sample.lagging_diagnosis(), measured, _run_info(command, measured))


SAMPLES: dict[str, Callable[[], ReportData]] = {
    "broken": broken_run,
    "learns": learning_run,
    "bare": bare_run,
    "proof": experiments_run,
    "lags": lagging_run,
}
"""The samples, by the stem of their files."""


def _run_info(command: tuple[str, ...], measured: Measurements) -> RunInfo:
    return RunInfo(
        command,
        VERSIONS,
        seed=0,
        config={"subset": 0.1, "image_size": 96, "batch_size": 8},
        status="finished",
        started="2026-01-02T03:04:05Z",
        missing=dict(measured.missing),
    )


def _repair_diff() -> str:
    """The diff that replaces softmax by sigmoid."""
    fixed = (
        CONVOLUTION_LINE.text.replace('"softmax"', "None"),
        SOFTMAX_LINE.text.replace('"softmax"', '"sigmoid"'),
    )
    lines = (
        f"--- a/{made.FILE}",
        f"+++ b/{made.FILE}",
        "@@ -179,5 +179,5 @@",
        " def _softmax_head(x: Any) -> Any:",
        "     convolution: dict[str, Any] = "
        '{"kernel_size": 3, "padding": "same", "use_bias": False}',
        '     x = keras.layers.Conv2DTranspose(8, **convolution, name="Convf1")(x)',
        *(f"-    {text}" for text in (CONVOLUTION_LINE.text, SOFTMAX_LINE.text)),
        *(f"+    {text}" for text in fixed),
    )
    return "".join(f"{line}\n" for line in lines)


def _broken_findings() -> tuple[Finding, ...]:
    return (
        Finding(
            "SD101",
            "single-channel-softmax",
            "error",
            "softmax_output and Convf2: softmax over an axis of size 1 is the constant 1.0;"
            f" |dL/dx| is 0.41 after it and 0 before it. Use sigmoid instead: {AT_SOFTMAX}",
            'activation="sigmoid"  # in softmax_output; activation=None in Convf2',
            layers=("softmax_output", "Convf2"),
            evidence={"axis_size": 1, "gradient_after": 0.41, "gradient_before": 0.0},
            source=SOFTMAX_LINE,
            edits=(
                Edit(
                    SOFTMAX_LINE,
                    "Activation",
                    "activation",
                    "softmax",
                    '"sigmoid"',
                    "softmax_output",
                ),
                Edit(
                    CONVOLUTION_LINE, "Conv2DTranspose", "activation", "softmax", "None", "Convf2"
                ),
            ),
            diff=_repair_diff(),
        ),
        Finding(
            "SD201",
            "gradient-cut",
            "error",
            "softmax_output: passes no gradient on: |dL/d(output)| is 0.41, |dL/d(input)| is"
            " exactly 0 (threshold 0); 49 trainable layers up to it get none (inception_5/expand,"
            " inception_5/depthwise_1, inception_5/depthwise_1_bn and 46 more). Make it"
            f" differentiable: {AT_SOFTMAX}",
            "Replace softmax_output with a differentiable layer or operation",
            layers=("softmax_output",),
            evidence={"output_gradient": 0.41, "input_gradient": 0.0, "threshold": 0.0},
            source=SOFTMAX_LINE,
            explained_by="SD101",
        ),
        Finding(
            "SD302",
            "constant-output",
            "error",
            "softmax_output: the same output for every sample, variation 0 (threshold 1e-06),"
            " although the targets differ. Check the weights, bias and activation of layer"
            " softmax_output",
            "Print the input and the output of layer softmax_output for two samples, and find where"
            " they become equal",
            layers=("softmax_output",),
            evidence={"sample_variation": 0.0, "threshold": 1e-6},
            explained_by="SD101",
        ),
        Finding(
            "SD104",
            "identical-branches",
            "warning",
            "inception_1, inception_2, inception_3 and 2 more: parallel depthwise branches with the"
            " same kernel size in 5 blocks; the first block has 4 branches with kernel size 1"
            " (threshold 2). Give each branch its own kernel size: quicksal/as_reported.py:77",
            "kernel_size=sizes[i]  # in inception_1: another size for each branch",
            layers=tuple(f"inception_{number}" for number in (1, 2, 3, 4, 5)),
            confidence=0.9,
            evidence={"branches": 4, "kernel_sizes": [1, 1, 1, 1]},
            source=Source(made.FILE, 77),
        ),
        Finding(
            "SD901",
            "silenced-warnings",
            "warning",
            "the program's filters hid 2 framework warnings: UserWarning \"You are using a softmax"
            " over axis -1 of a tensor of shape (None, 96, 96, 1). This axis has size 1. The"
            ' softmax operation will always return the value 1, which …". Remove the filter:'
            " quicksal/as_reported.py:21",
            'warnings.filterwarnings("default")  # instead of "ignore"',
            layers=(),
            evidence={"silenced": 1},
            source=Source(made.FILE, 21),
            explained_by=None,
        ),
    )


def _keras_warnings() -> WarningLog:
    message = (
        "You are using a softmax over axis -1 of a tensor of shape (None, 96, 96, 1). This axis"
        " has size 1. The softmax operation will always return the value 1, which is likely not"
        " what you intended. Did you mean to use a sigmoid instead?"
    )
    where = Source(made.FILE, 21)
    return WarningLog(
        (RecordedWarning("UserWarning", message, made.FILE, SOFTMAX_LINE.line, True, 2, where),)
    )


def _stuck_history() -> OverfitHistory:
    error = np.full(2, 0.7713)
    return OverfitHistory(
        "mae",
        8,
        80,
        8,
        96,
        np.arange(1, 4),
        np.full(3, 0.7713),
        np.array([0, 3]),
        error,
        error,
        float("nan"),
        0.2287,
        0.1912,
        0.0,
        True,
        "no gradient",
        120.0,
        400,
    )


def _memorised_history() -> OverfitHistory:
    steps = np.arange(1, 61)
    checked = np.arange(0, 61, 5)
    curve = 0.52 * np.exp(-checked / 13.5) + 0.0042
    return OverfitHistory(
        "mae",
        8,
        80,
        8,
        96,
        steps,
        (0.52 * np.exp(-steps / 13.5) + 0.0045) * (1 + 0.08 * np.sin(steps * 2.3)),
        checked,
        curve,
        0.37 * np.exp(-checked / 60) + 0.02,
        0.013,
        0.2287,
        0.1912,
        0.31,
        False,
        "memorised",
        120.0,
        400,
    )


def _data_facts(constant: bool) -> DataFacts:
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
    )


def _sample_pictures(constant: bool) -> Predictions:
    """Discs on striped backgrounds, as in the built-in sample."""
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


def write_gallery(directory: Path = DIRECTORY) -> list[Path]:
    """Write every sample as HTML, text and JSON, and return the files."""
    from saldiag_reports.formats.html import render_html
    from saldiag_reports.formats.printed.json import render_json
    from saldiag_reports.formats.printed.text import render_text

    renderers: dict[str, Callable[[ReportData], str]] = {
        "html": render_html,
        "txt": render_text,
        "json": render_json,
    }
    written = []
    for name, build in SAMPLES.items():
        data = build()
        for suffix, render in renderers.items():
            path = directory / f"{name}.{suffix}"
            write_text(path, render(data))
            written.append(path)
    return written


def take_screenshot(page: Path, picture: Path, size: tuple[int, int] = (1100, 860)) -> None:
    """Write a picture of the top of a page, rendered by headless Chromium; ``size`` is in pixels.

    Raises:
        FileNotFoundError: Chromium is not installed.
    """
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        raise FileNotFoundError("no chromium on the PATH: install it, or omit --screenshot")
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
    command += ["--disable-background-networking", f"--window-size={size[0]},{size[1]}"]
    command += [f"--screenshot={picture}", page.resolve().as_uri()]
    subprocess.run(command, check=True, capture_output=True)  # noqa: S603 - our own page


def main(arguments: list[str]) -> None:
    """Write the samples; with ``--screenshot PAGE`` also the README's picture of that page."""
    for path in write_gallery():
        sys.stdout.write(f"{path}\n")
    if "--screenshot" in arguments:
        take_screenshot(Path(arguments[-1]), DIRECTORY / "report.png")


if __name__ == "__main__":
    main(sys.argv[1:])
