"""``saldiag train`` on models and data of the user's own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.command_line import read_diagnosis, run_saldiag

pytestmark = pytest.mark.tensorflow

PROGRAM = """
import keras, numpy as np, tensorflow as tf

def model(last="sigmoid"):
    made = keras.Sequential([
        keras.Input((4,)), keras.layers.Dense(16, activation="relu"), keras.layers.Dropout(0.1),
        keras.layers.Dense(1, activation=last, name="head"),
    ])
    made.compile(keras.optimizers.Adam(1e-2), "binary_crossentropy", metrics=["accuracy"])
    return made

def softmax():
    return model("softmax")

def data(count=60):
    x = np.random.default_rng(0).normal(size=(count, 4)).astype("float32")
    return x, (x[:, :1] > 0).astype("float32")

def weighted():
    return *data(), np.linspace(1, 2, 60, dtype="float32")

def one():
    return data(1)

def wide():
    return np.zeros((60, 5), "float32"), np.zeros((60, 1), "float32")

def stream():
    return tf.data.Dataset.from_tensor_slices(data()).batch(16)

def endless():
    return stream().repeat()

def uneven():
    parts = [np.zeros((2, n, 1), "float32") for n in (3, 4)]
    signature = tf.TensorSpec((2, None, 1)), tf.TensorSpec((2, 1))
    return tf.data.Dataset.from_generator(
        lambda: ((part, part[:, 0]) for part in parts), output_signature=signature)

class Pair(keras.Model):
    '''Two inputs in a dictionary, and a function that Keras cannot write down.'''

    def __init__(self, function):
        super().__init__()
        self.function = function
        self.dense = keras.layers.Dense(1, activation="sigmoid")

    def call(self, inputs):
        return self.dense(self.function(inputs["a"]) + inputs["b"])

def pair():
    made = Pair(lambda x: 2 * x)
    made.compile("adam", "mse")
    return made

def pairs():
    x, y = data()
    return {"a": x, "b": x}, y

def segmenter():
    made = keras.Sequential([
        keras.Input((32, 32, 3)), keras.layers.Conv2D(4, 3, padding="same", activation="relu"),
        keras.layers.Conv2D(1, 3, padding="same", activation="sigmoid"),
    ])
    made.compile("adam", "binary_crossentropy")
    return made
"""
OWN = ("--model", "net.py:model", "--data", "net.py:data")


def train(*arguments: str, out: str = "run", epochs: int = 2) -> int:
    sizes = ("--epochs", str(epochs), "--batch-size", "16")
    return run_saldiag("train", *arguments, *sizes, "--out", out)


def history(run: str) -> dict[str, Any]:
    names = json.loads(Path(run, "measurements", "training.json").read_text())["names"]
    with np.load(Path(run, "measurements", "training.npz")) as arrays:
        return dict(zip(names, arrays["values"], strict=True))


def codes(run: str) -> list[str]:
    return [finding["rule"] for finding in read_diagnosis(run)["findings"]]


def test_a_sound_model_trains_as_it_was_compiled(here: Path) -> None:
    import keras

    assert train(*OWN) == 0
    seen = history("run")
    assert seen["val_loss"][1] < seen["val_loss"][0]
    assert {"accuracy", "val_accuracy"} <= set(seen)  # its own metrics, and none of saliency
    assert not [name for name in seen if "beta" in name]
    assert seen["learning_rate"].tolist() == pytest.approx([1e-2, 1e-2])
    assert codes("run") == []
    best = keras.models.load_model(here / "run" / "checkpoints" / "best.keras")
    assert isinstance(best.optimizer, keras.optimizers.Adam)


@pytest.mark.slow
def test_a_resumed_training_equals_an_uninterrupted_one(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(*OWN, out="whole", epochs=4) == 0
    assert train(*OWN, out="parts", epochs=2) == 0
    assert train(*OWN, "--resume", out="parts", epochs=4) == 0
    whole, parts = history("whole"), history("parts")
    assert whole.keys() == parts.keys()
    for name in whole:
        assert len(whole[name]) == 4
        np.testing.assert_allclose(whole[name], parts[name], rtol=1e-5, err_msg=name)
    for name, value in (("learning-rate", "0.5"), ("loss", "mse"), ("optimizer", "sgd")):
        assert train(*OWN, "--resume", f"--{name}", value, out="parts", epochs=5) == 2
        told = capsys.readouterr().err
        assert f"was trained with {name.replace('-', '_')}=None, not {value}" in told


@pytest.mark.filterwarnings("ignore:You are using a softmax over axis:UserWarning")
def test_the_cause_is_named_with_its_line(here: Path) -> None:
    assert train("--model", "net.py:softmax", "--data", "net.py:data") == 1
    first = read_diagnosis("run")["findings"][0]
    assert (first["rule"], first["layers"]) == ("SD101", ["head"])
    assert 'name="head"' in first["source"]["text"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [
        ("--model", "net.py:model", "--data", "net.py:stream"),
        ("--model", "net.py:model", "--data", "net.py:weighted", "--optimizer", "sgd"),
        ("--model", "net.py:pair", "--data", "net.py:pairs", "--subset", "0.5"),
    ],
)
def test_data_and_models_of_other_kinds(arguments: tuple[str, ...], here: Path) -> None:
    assert train(*arguments) == 0
    assert len(history("run")["val_loss"]) == 2
    saved = {path.name for path in (here / "run" / "checkpoints").iterdir()}
    whole = "pair" not in arguments[1]
    assert saved == {"state.npz", "best.keras" if whole else "best.weights.h5"}


@pytest.mark.slow
def test_subset_and_batch_size_are_used(here: Path) -> None:
    assert train(*OWN, "--subset", "0.5", epochs=1) == 0
    with np.load(here / "run" / "measurements" / "gradients.npz") as arrays:
        assert arrays["loss"].shape == (2,)  # 27 of 54 items in batches of 16


@pytest.mark.slow
def test_pictures_with_masks_are_shown(here: Path) -> None:
    from saldiag.core.files.run import Run
    from saldiag.core.measurement import HeldOutScores, Predictions

    assert train("--model", "net.py:segmenter", epochs=1) in (0, 1)
    measured = Run.open(here / "run").read_measurements()
    shown, scored = measured.get(Predictions), measured.get(HeldOutScores)
    assert scored is not None
    assert (scored.part, scored.available, scored.epoch) == ("validation", 12, 1)
    assert scored.image_size == (32, 32)
    assert shown is not None
    assert shown.images.shape[1:] == (32, 32, 3)
    assert shown.predictions.shape == shown.targets.shape


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ("--model", "net.py:model", "--data", "net.py:endless"),
            "can be read only once, or is endless",
        ),
        (("--model", "net.py:model", "--data", "net.py:one"), "contains 1 sample"),
        (("--model", "net.py:model", "--data", "net.py:uneven"), "cannot be concatenated"),
        (("--model", "net.py:model", "--data", "net.py:wide"), "does not fit"),
        ((*OWN, "--beta2", "0.5"), "--beta2 applies only to quicksal"),
        ((*OWN, "--step-size", "5"), "--step-size applies only to quicksal"),
        ((*OWN, "--target", "y"), "--target is for"),
        (("--optimizer", "sgd"), "quicksal trains with Adam"),
        (("--data", "net.py:data"), "image-and-mask pairs"),
    ],
)
def test_unusable_models_data_and_options_exit_with_one_line(
    arguments: tuple[str, ...], said: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(*arguments) == 2
    told = capsys.readouterr().err
    assert said in told
    assert told.count("\n") == 1
    assert not (here / "run").exists()


@pytest.mark.slow
def test_an_error_in_the_data_during_training_is_reported(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "data").mkdir()
    from PIL import Image

    for kind in ("images", "masks"):
        (here / "data" / kind).mkdir()
        for number in range(24):
            image = Image.new("RGB" if kind == "images" else "L", (32, 32), number)
            image.save(here / "data" / kind / f"{number}.png")
    whole = (here / "data" / "images" / "7.png").read_bytes()
    (here / "data" / "images" / "7.png").write_bytes(whole[:40])
    assert train("--model", "net.py:segmenter", "--data", "data") == 2
    told = capsys.readouterr().err.splitlines()[-1]
    assert "7.png" in told
    assert "fault in saldiag" not in told
