"""What cannot be examined is one line on stderr and exit code 2, and leaves no run behind."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support.command_line import run_saldiag

pytestmark = pytest.mark.tensorflow

PROGRAM = """
import keras, numpy as np, tensorflow as tf

def model(*shape, outputs=2):
    made = keras.Sequential([keras.Input(shape or (4,)), keras.layers.Dense(outputs)])
    made.compile("sgd", "mse")
    return made

def pictures():
    return model(8, 8, 3)

def uncompiled():
    return keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])

class Net(keras.Model):
    def __init__(self):
        super().__init__()
        self.dense = keras.layers.Dense(2)
        self.compile("sgd", "mse")

    def call(self, x):
        return self.dense(tf.ensure_shape(x, (None, 4)))

def data():
    return np.zeros((20, 4)), np.zeros((20, 2))

def other():
    return np.zeros((20, 5)), np.zeros((20, 2))

def batches():
    return tf.data.Dataset.from_tensor_slices(data()).batch(5).repeat()

def single():
    return tf.data.Dataset.from_tensor_slices(data())

def empty():
    return tf.data.Dataset.from_tensor_slices(data()).take(0).batch(5)

def endless():
    while True:
        yield np.zeros((5, 4)), np.zeros((5, 2))

def stumbles():
    yield np.zeros((5, 4)), np.zeros((5, 2))
    raise ValueError("row 7 is\\nbroken")

def nothing():
    return None

def raises():
    raise ValueError("no\\nway")

def uneven():
    return np.zeros((20, 4)), np.zeros((19, 2))
"""


@pytest.fixture
def here(here: Path) -> Path:
    """The working directory, with the program and a few files."""
    (here / "t.csv").write_text("a,b,c,d,kind\n1,2,3,4,x\n5,6,7,8,y\n")
    (here / "notes.txt").write_text("text")
    (here / "empty").mkdir()
    (here / "texts").mkdir()
    (here / "texts" / "a.txt").touch()
    for name in ("cats", "dogs"):
        (here / "broken" / name).mkdir(parents=True)
        (here / "broken" / name / "a.png").write_bytes(b"\x89PNG no more")
    for name in ("images", "masks"):
        (here / "pairs" / name).mkdir(parents=True)
        for stem in "abc":
            Image.new("L", (9, 9)).save(here / "pairs" / name / f"{stem}.png")
    np.savez(here / "objects.npz", x=np.array([{}], dtype=object), y=np.zeros(1))
    np.savez(here / "named.npz", first=np.zeros((9, 4)), second=np.zeros((9, 2)))
    return here


MODEL = ("--model", "net.py:model")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--model", "net.py:modle", "--data", "net.py:data"), "did you mean model?"),
        (("--model", "net.py"), "name a function"),
        (("--model", "none.keras"), "none.keras: no such file"),
        (("--model", "net.py:uncompiled", "--data", "net.py:data"), "--loss"),
        (("--model", "net.py:Net", "--data", "net.py:other"), "[?,4] and [8,5]"),
        ((*MODEL, "--data", "nowhere"), "nowhere: no such file or folder"),
        ((*MODEL, "--data", "empty"), "empty: empty folder"),
        ((*MODEL, "--data", "texts"), "texts: contains no images"),
        ((*MODEL, "--data", "notes.txt"), "not a known data format"),
        ((*MODEL, "--data", "objects.npz"), "pickled Python objects, which saldiag doesn't load"),
        ((*MODEL, "--data", "named.npz"), "it has first, second"),
        ((*MODEL, "--data", "t.csv"), "it has a, b, c, d, kind"),
        ((*MODEL, "--data", "t.csv", "--target", "kidn"), "did you mean kind?"),
        ((*MODEL, "--data", "broken"), "the model expects (None, 4)"),
        (("--model", "net.py:pictures", "--data", "broken"), "a.png: damaged, or not an image"),
        (("--model", "net.py:pictures", "--data", "net.py:data"), "(8, 4), the model expects"),
        ((*MODEL, "--data", "net.py:other"), "(8, 5), the model expects (None, 4)"),
        ((*MODEL, "--data", "net.py:single"), "add .batch(8)"),
        ((*MODEL, "--data", "net.py:empty"), "contains no batch"),
        ((*MODEL, "--data", "net.py:nothing"), "returned NoneType: expected arrays (x, y)"),
        ((*MODEL, "--data", "net.py:raises"), "ValueError: no way (net.py:"),
        ((*MODEL, "--data", "net.py:stumbles", "--items", "50"), "row 7 is broken"),
        ((*MODEL, "--data", "net.py:uneven"), "the arrays differ in length: (20, 4), (19, 2)"),
        ((*MODEL, "--data", "net.py:batches", "--batch-size", "4"), "is batched already"),
        (
            (*MODEL, "--data", "net.py:batches", "--items", "0"),
            "number of batches is not known",
        ),
        (
            (*MODEL, "--data", "net.py:endless", "--items", "0"),
            "number of batches is not known",
        ),
        ((*MODEL, "--data", "net.py:data", "--image-size", "8"), "--image-size is for image files"),
        ((*MODEL, "--data", "net.py:data", "--weights", "random"), "for registered models"),
        ((*MODEL, "--data", "net.py:data", "--optimizer", "adem"), "did you mean adam?"),
        (("--data", "net.py:data"), "the model expects (None, S, S, 3) with masks"),
        (("--data", "t.csv", "--target", "a", "--inputs", "b"), "with masks (None, S, S, 1)"),
        (("--data", "broken", "--image-size", "32"), "damaged, or not an image"),
        (("--data", "pairs", "--pixels", "unit"), "--pixels is for your own model"),
    ],
)
def test_one_line_exit_2_and_no_run(
    arguments: tuple[str, ...], said: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_saldiag("overfit", *arguments, "--out", "run") == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("saldiag: "), captured.err
    assert said in captured.err
    assert captured.err.count("\n") == 1
    assert "fault in saldiag" not in captured.err
    assert not (here / "run").exists()
