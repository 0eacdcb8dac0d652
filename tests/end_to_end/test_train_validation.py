"""``saldiag train`` and ``saldiag.Watch`` on trainings whose val_loss does not follow the loss."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import saldiag
from saldiag.core.measurement import ValidationCheck
from tests.support.command_line import read_diagnosis, run_saldiag

pytestmark = [pytest.mark.tensorflow, pytest.mark.slow]

PROGRAM = """
import keras, numpy as np
from keras import layers

def data():
    x = np.random.default_rng(0).uniform(0, 1, (240, 16, 16, 1)).astype("float32")
    return x, x.reshape(240, 2, 8, 2, 8).mean((2, 4)).reshape(240, 4).argmax(1)

def model(momentum=0.99):
    inputs = keras.Input((16, 16, 1))
    h = layers.Conv2D(16, 3, padding="same", use_bias=False)(inputs)
    h = layers.BatchNormalization(momentum=momentum, name="first")(h)
    h = layers.ReLU()(h)
    h = layers.DepthwiseConv2D(3, padding="same", use_bias=False)(h)
    h = layers.BatchNormalization(momentum=momentum, name="second")(h)
    h = layers.Flatten()(layers.AveragePooling2D(4)(layers.ReLU()(h)))
    made = keras.Model(inputs, layers.Dense(4, activation="softmax")(h))
    made.compile(keras.optimizers.Adam(3e-3), "sparse_categorical_crossentropy")
    return made

def quick():
    return model(0.8)
"""


def trained(*arguments: str, model: str = "model", epochs: int = 12) -> tuple[int, dict[str, Any]]:
    code = run_saldiag(
        "train", "--model", f"net.py:{model}", "--data", "net.py:data", "--epochs", str(epochs),
        "--batch-size", "16", "--out", "run", "--patience", "20", *arguments,
    )  # fmt: skip
    return code, read_diagnosis("run")


def test_statistics_that_lag_are_the_root_cause_with_layers_steps_and_line(here: Path) -> None:
    code, found = trained()
    assert (code, found["verdict"]) == (1, "learns")
    assert "with statistics re-estimated" in found["verdict_reason"]
    first = found["findings"][0]
    assert (first["rule"], first["severity"]) == ("SD802", "error")
    assert set(first["layers"]) == {"first", "second"}
    assert "BatchNormalization(momentum=momentum" in first["source"]["text"]
    assert first["evidence"]["reestimated_error"] < 0.7 * first["evidence"]["inference_error"]
    assert first["evidence"]["steps_needed"] > 100
    page = Path("run", "report.html").read_text()
    assert "re-estimated" in page


def test_a_momentum_that_fits_gives_no_finding(here: Path) -> None:
    code, found = trained(model="quick")
    assert (code, found["verdict"], found["findings"]) == (0, "learns", [])


def test_statistics_that_are_reestimated_give_no_finding(here: Path) -> None:
    code, found = trained("--recalibrate")
    assert (code, found["verdict"], found["findings"]) == (0, "learns", [])


def test_watch_finds_the_same_and_does_not_change_the_training(here: Path) -> None:
    space: dict[str, Any] = {}
    exec(PROGRAM, space)
    x, y = space["data"]()
    weights, histories = [], []
    for watch in (None, saldiag.Watch()):
        keras.utils.set_random_seed(2)
        model = space["model"]()
        stop = keras.callbacks.EarlyStopping("val_loss", patience=2, restore_best_weights=True)
        callbacks = [stop, *([watch] if watch is not None else [])]
        done = model.fit(x, y, batch_size=16, epochs=12, validation_split=0.2, verbose=0,
                         callbacks=callbacks)  # fmt: skip
        weights.append([np.asarray(v) for v in model.variables])
        histories.append(done.history)
    assert histories[0] == histories[1]
    for one, other in zip(*weights, strict=True):
        np.testing.assert_array_equal(one, other)
    assert watch is not None
    diagnosis = watch.diagnosis()
    assert diagnosis.root_cause is not None
    assert diagnosis.root_cause.rule == "SD802"
    check = diagnosis.measured.need(ValidationCheck)
    assert check.reestimated[-1] < 0.9 * check.inference[-1]


def test_without_validation_there_are_curves_and_a_reason(here: Path) -> None:
    space: dict[str, Any] = {}
    exec(PROGRAM, space)
    x, y = space["data"]()
    keras.utils.set_random_seed(2)
    model, watch = space["quick"](), saldiag.Watch()
    model.fit(x, y, batch_size=16, epochs=12, verbose=0, callbacks=[watch])
    diagnosis = watch.diagnosis()
    assert diagnosis.verdict == "learns"
    assert diagnosis.measured.get(ValidationCheck) is None
    assert diagnosis.measured.reason(ValidationCheck) == "the training runs no validation"
