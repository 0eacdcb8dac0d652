"""The sample whose ``val_loss`` lags because of BatchNorm, and which EarlyStopping stopped."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from saldiag.core.findings.diagnosis import Diagnosis, RootCause, SubjectSummary
from saldiag.core.findings.finding import Finding
from saldiag.core.measurement import (
    ActedCallback,
    Baselines,
    Correction,
    DataFacts,
    InputComparison,
    Measurements,
    Source,
    StatisticsRow,
    TensorFacts,
    TrainingHistory,
    ValidationCheck,
)

EPOCHS = 16
"""Epochs of the training."""
LOSS = "sparse_categorical_crossentropy"
BATCHNORM_LINE = Source("train.py", 11, "h = keras.layers.BatchNormalization()(h)")


def lagging_measurements() -> Measurements:
    """A training of 16 epochs with five checks."""
    facts = DataFacts(
        (TensorFacts("image", (None, 16, 16, 2), "float32", 0.0, 1.0, 0.5, 0.289, 0.0, 1.0, 1000),),
        (TensorFacts("label", (None,), "int64", 0.0, 3.0, 1.5, 1.12, 0.0, 1.0, 4),),
        (TensorFacts("class", (None, 4), "float32", 0.0, 0.97, 0.25, 0.29, 0.0, 0.8, 256),),
        Baselines(LOSS, 1.386, 0.25, 1.369, "frequencies"),
        64,
    )
    return Measurements.of(_training_history(), _validation_check(), facts)


def lagging_diagnosis() -> Diagnosis:
    """The statistics lag, so EarlyStopping kept the weights of the third epoch."""
    lag = Finding(
        "SD802",
        "inference-lags-training",
        "info",
        "the model is better than val_loss shows: error 1.42 on 48 validation items in inference"
        " mode, but 0.512 with BatchNorm's statistics re-estimated from training batches (0.509 in"
        " training mode). Inference loses 106 % of what was learned (threshold 25 %). The moving"
        " statistics of 2 layers lag: after 192 steps with momentum 0.99, the moving variance of"
        " block/bn is 28.4 times that of its batches; 559 more steps would bring all of them within"
        " 10 %",
        "keras.layers.BatchNormalization(momentum=0.9)  # or re-estimate the statistics before"
        " validating",
        layers=("stem/bn", "block/bn"),
        evidence={"inference_error": 1.42, "reestimated_error": 0.512},
        source=BATCHNORM_LINE,
    )
    stopped = Finding(
        "SD712",
        "stopped-by-misleading-validation",
        "warning",
        "EarlyStopping(monitor='val_loss') stopped the training after epoch 16 and kept the weights"
        " of epoch 3; ModelCheckpoint(monitor='val_loss') kept the weights of epoch 3. After 16"
        " epochs the validation reports an error of 1.42, but the corrected error is 0.512; the"
        " difference is 0.665 times the reference error (threshold 0.1)",
        "Correct the validation, then train again",
        layers=(),
        evidence={"stopped": EPOCHS, "kept": 3},
        explained_by="SD802",
    )
    reason = (
        "loss 1.38 → 0.39 in 16 epochs, 1.42 on validation items in inference mode, 0.509 in"
        " training mode, 0.512 with statistics re-estimated; the best prediction that ignores the"
        " input gets 1.37"
    )
    diagnosis = Diagnosis(
        SubjectSummary("functional", LOSS, 612, 548),
        "learns",
        RootCause(lag.rule, lag.name, lag.layers, BATCHNORM_LINE),
        (lag, stopped),
        timings={"total": 24.1},
    )
    return replace(diagnosis, verdict_reason=reason)


def _training_history() -> TrainingHistory:
    epochs = np.arange(1, EPOCHS + 1)
    loss = 1.4 * np.exp(-epochs / 12) + 0.02 * np.sin(epochs)
    val_loss = 1.37 - 0.04 * np.exp(-(((epochs - 3) / 3) ** 2)) + 0.004 * np.maximum(epochs - 3, 0)
    return TrainingHistory(("loss", "val_loss"), epochs, np.stack([loss, val_loss]))


def _validation_check() -> ValidationCheck:
    nan = float("nan")
    return ValidationCheck(
        LOSS,
        48,
        64,
        np.array([1, 2, 4, 8, 16]),
        np.array([12, 24, 48, 96, 192]),
        inference=np.array([1.36, 1.34, 1.35, 1.39, 1.422]),
        training=np.array([1.31, 1.22, 1.05, 0.78, 0.509]),
        reestimated=np.array([1.32, 1.21, 1.04, 0.79, 0.512]),
        train_inference=np.array([nan, nan, nan, nan, 1.401]),
        train_training=np.array([nan, nan, nan, nan, 0.381]),
        train_reestimated=np.array([nan, nan, nan, nan, 0.384]),
        statistics=(
            StatisticsRow("stem/bn", 0.99, 8.25, 0.58, 7.25),
            StatisticsRow("block/bn", 0.99, 28.4, 1.12, 27.4),
        ),
        repeat_difference=0.0,
        company_difference=0.0,
        inputs=(
            InputComparison(
                "image",
                (16, 16, 2),
                (16, 16, 2),
                (0.503, 0.498),
                (0.29, 0.288),
                (0.5, 0.497),
                (0.289, 0.287),
            ),
        ),
        corrections=(
            Correction("inputs", "2 * x - 1", 1.21),
            Correction("targets", "np.roll(y, 1, axis=0)", 1.61),
        ),
        mapped_accuracy=0.729,
        accuracy=0.729,
        callbacks=(
            ActedCallback("EarlyStopping", "val_loss", EPOCHS, 3),
            ActedCallback("ModelCheckpoint", "val_loss", None, 3),
        ),
        seconds=0.24,
        training_seconds=8.62,
    )
