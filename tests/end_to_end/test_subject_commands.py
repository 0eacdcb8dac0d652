"""The commands on models and data of the user's, from end to end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.support import models
from tests.support.command_line import read_diagnosis, run_saldiag

pytestmark = [
    pytest.mark.slow,
    pytest.mark.tensorflow,
    pytest.mark.filterwarnings("ignore:You are using a softmax over axis:UserWarning"),
]

PROGRAM = """
import keras
import numpy as np
import tensorflow as tf
from keras import layers

print("the program prints")

def flat():
    made = keras.Sequential([
        keras.Input((4,)),
        layers.Dense(64, activation="relu"),
        layers.Dense(3, activation="softmax"),
    ])
    loss = "sparse_categorical_crossentropy"
    made.compile(keras.optimizers.Adam(0.02), loss, metrics=["accuracy"])
    return made

def constant():
    made = keras.Sequential([keras.Input((4,)), layers.Dense(8, activation="relu")])
    made.add(layers.Dense(1, activation="softmax"))
    made.compile("adam", "mse")
    return made

def named():
    a, b = keras.Input((1,), name="a"), keras.Input((1,), name="b")
    joined = layers.Concatenate()([a, b])
    return keras.Model([a, b], layers.Dense(1)(keras.Sequential([layers.Dense(4)])(joined)))

class Stepped(keras.Model):
    def __init__(self):
        super().__init__()
        self.hidden, self.head = layers.Dense(16, activation="relu"), layers.Dense(3)
        self.compile(keras.optimizers.Adam(0.01))
        self.measure = keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    def call(self, x):
        return self.head(self.hidden(x))

    def train_step(self, data):
        x, y = data
        with tf.GradientTape() as tape:
            loss = self.measure(y, self(x, training=True))
        rates = tape.gradient(loss, self.trainable_variables)
        self.optimizer.apply_gradients(zip(rates, self.trainable_variables))
        return {"loss": loss}

class Raising(Stepped):
    def train_step(self, data):
        raise RuntimeError("row 3\\nis odd")

def segmenting():
    made = keras.Sequential([keras.Input((16, 24, 3))])
    made.add(layers.Conv2D(8, 3, padding="same", activation="relu"))
    made.add(layers.Conv2D(1, 1, activation="sigmoid"))
    made.compile(keras.optimizers.Adam(0.01), "binary_crossentropy")
    return made

def classes():
    made = keras.Sequential([keras.Input((8, 8, 1)), layers.Rescaling(1 / 255), layers.Flatten()])
    made.add(layers.Dense(2, activation="softmax"))
    made.compile(keras.optimizers.Adam(0.05), "categorical_crossentropy")
    return made

def batches():
    x = np.random.default_rng(0).normal(size=(64, 4)).astype("float32")
    return tf.data.Dataset.from_tensor_slices((x, (x[:, 0] > 0).astype("int64"))).batch(8)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A program and data of every kind."""
    path: Path = tmp_path_factory.mktemp("own")
    (path / "net.py").write_text(PROGRAM)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 4)).round(3)
    kinds = np.array(["ash", "elm", "oak"])[(x[:, 0] > 0).astype(int) + (x[:, 1] > 0)]
    rows = [",".join([*map(str, row), kind]) for row, kind in zip(x, kinds, strict=True)]
    (path / "trees.csv").write_text("\n".join(["a,b,c,d,kind", *rows]))
    np.savez(path / "trees.npz", x=x.astype(np.float32), y=(x[:, :1] > 0).astype(np.float32))
    for number in range(24):
        mask = np.zeros((20, 30), np.uint8)
        mask[4:12, number : number + 6] = 255
        picture = np.stack([255 - mask, mask, mask // 2], axis=-1)
        for kind, pixels in (("images", picture), ("masks", mask)):
            (path / "pairs" / kind).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path / "pairs" / kind / f"{number}.png")
        kind = path / "classes" / ("odd" if number % 2 else "even")
        kind.mkdir(parents=True, exist_ok=True)
        Image.new("L", (9, 9), 200 * (number % 2) + number).save(kind / f"{number}.png")
    return path


@pytest.fixture
def here(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(folder)
    return folder


def examined(out: Path, command: str, *arguments: str) -> tuple[int, dict[str, Any]]:
    code = run_saldiag(command, *arguments, "--out", out)
    assert (out / "diagnosis.json").exists(), "the command could not run"
    assert json.loads((out / "run.json").read_text())["status"] == "finished"
    assert "<html" in (out / "report.html").read_text()
    return code, read_diagnosis(out)


def errors(found: dict[str, Any]) -> list[dict[str, Any]]:
    return [finding for finding in found["findings"] if finding["severity"] == "error"]


def test_overfit_a_function_on_a_table(
    here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, found = examined(
        tmp_path / "run", "overfit", "--model", "net.py:flat", "--data", "trees.csv",
        "--target", "kind", "--format", "json",
    )  # fmt: skip
    printed = capsys.readouterr()
    assert json.loads(printed.out) == found, "what the program prints goes elsewhere"
    assert "the program prints" in printed.err
    assert "classes by number: 0 ash, 1 elm, 2 oak" in printed.err
    assert (code, found["verdict"], errors(found)) == (0, "learns", [])
    assert found["subject"]["model"] == "net.py:flat"
    assert found["subject"]["loss"] == "sparse_categorical_crossentropy"


def test_overfit_names_the_line_of_the_program(here: Path, tmp_path: Path) -> None:
    code, found = examined(
        tmp_path / "run", "overfit", "--model", "net:constant", "--data", "trees.npz"
    )
    assert (code, found["verdict"]) == (1, "does_not_learn")
    cause = found["root_cause"]
    assert (cause["rule"], cause["source"]["file"]) == ("SD101", "net.py")
    line = PROGRAM.splitlines()[cause["source"]["line"] - 1]
    assert 'activation="softmax"' in line


def test_overfit_shows_pictures_beside_masks(here: Path, tmp_path: Path) -> None:
    code, found = examined(
        tmp_path / "run", "overfit", "--model", "net.py:segmenting", "--data", "pairs"
    )
    assert (code, found["verdict"], errors(found)) == (0, "learns", [])
    with np.load(tmp_path / "run" / "measurements" / "predictions.npz") as shown:
        assert shown["images"].shape == (4, 16, 24, 3)
        assert (shown["images"].min(), shown["images"].max()) == (0, 1)
    notes = json.loads((tmp_path / "run" / "run.json").read_text())["notes"]
    assert notes == [
        "pixel range 0 to 1, because the model doesn't rescale its inputs; --pixels changes it"
    ]


def test_gradients_of_a_custom_train_step(here: Path, tmp_path: Path) -> None:
    code, found = examined(
        tmp_path / "run", "gradients", "--model", "net.py:Stepped", "--data", "net.py:batches",
        "--steps", "3",
    )  # fmt: skip
    assert (code, found["verdict"]) == (0, "not_tested"), found
    with np.load(tmp_path / "run" / "measurements" / "gradients.npz") as measured:
        assert measured["norm"].shape == (3, 4)
        assert (measured["norm"] > 0).all()


def test_dtypes_of_inputs_by_name_under_a_loss_by_name(here: Path, tmp_path: Path) -> None:
    arguments = ("--model", "net.py:named", "--data", "trees.csv", "--target", "c")
    code, found = examined(tmp_path / "run", "dtypes", *arguments, "--loss", "mse")
    assert (code, errors(found)) == (0, [])
    assert found["subject"]["loss"] == "mean_squared_error"


@pytest.mark.parametrize("suffix", ["keras", "h5"])
def test_trainable_of_a_saved_model_on_a_folder_of_classes(
    suffix: str, here: Path, tmp_path: Path
) -> None:
    import keras

    made = models.sequential((8, 8, 1), keras.layers.Flatten(name="flat"))
    made.add(keras.layers.Dense(4, trainable=False, name="kept"))
    made.add(keras.layers.Dense(2, activation="softmax", name="head"))
    made.compile("adam", "categorical_crossentropy")
    made.optimizer.build(made.trainable_variables)
    made.save(tmp_path / f"a.{suffix}")
    _, found = examined(
        tmp_path / "run", "trainable", "--model", str(tmp_path / f"a.{suffix}"),
        "--data", "classes",
    )  # fmt: skip
    status = json.loads((tmp_path / "run" / "measurements" / "trainable.json").read_text())
    assert "kept" in json.dumps(status)
    assert found["subject"]["trainable_parameters"] == 10


def test_a_model_that_scales_its_pictures_gets_bytes(here: Path, tmp_path: Path) -> None:
    code, found = examined(
        tmp_path / "run", "overfit", "--model", "net.py:classes", "--data", "classes",
        "--max-steps", "150",
    )  # fmt: skip
    notes = json.loads((tmp_path / "run" / "run.json").read_text())["notes"]
    assert "classes by number: 0 even, 1 odd" in notes
    assert any(note.startswith("pixel range 0 to 255") for note in notes)
    assert (code, found["verdict"], errors(found)) == (0, "learns", [])


def test_quicksal_takes_images_beside_masks(here: Path) -> None:
    from saldiag.app.loading.registered_model import read_pairs
    from saldiag.app.session.options import Options
    from saldiag.app.session.request import parse_request

    request = parse_request(Options(data="pairs", image_size=32, batch_size=2))
    data = read_pairs(request.data)
    x, y = data.batches[0]
    assert (x.shape, y.shape, data.image_size) == ((2, 32, 32, 3), (2, 32, 32, 1), 32)


def test_a_user_model_on_pairs_in_one_folder(here: Path, tmp_path: Path) -> None:
    from saldiag.image_masks.sample import write_sample

    write_sample(tmp_path / "sample", 8, 0)
    code, found = examined(
        tmp_path / "run", "gradients", "--model", "net.py:segmenting", "--steps", "2",
        "--data", str(tmp_path / "sample"),
    )  # fmt: skip
    assert (code, errors(found)) == (0, [])


@pytest.mark.parametrize("command", ["overfit", "gradients"])
def test_a_training_that_raises_exits_with_2_or_is_noted_with_the_findings(
    command: str, here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = "the model cannot be trained on this data: row 3"
    data = tmp_path / "a.npz"
    x = np.random.default_rng(0).normal(size=(9, 4)).astype(np.float32)
    np.savez(data, x=x, y=np.arange(9) % 3)
    arguments = (command, "--model", "net.py:Raising", "--data", str(data))
    if command == "overfit":
        assert run_saldiag(*arguments, "--out", tmp_path / "without") == 2
        assert "compiled without a loss, which overfit measures" in capsys.readouterr().err
        arguments = (*arguments, "--loss", "sparse_categorical_crossentropy")
    else:  # nothing that was measured says why
        assert run_saldiag(*arguments, "--out", tmp_path / "failed") == 2
        assert f"saldiag: {told}\n" in capsys.readouterr().err
        assert json.loads((tmp_path / "failed" / "run.json").read_text())["status"] == "failed"
    np.savez(data, x=np.full((9, 4), np.nan, np.float32), y=np.arange(9) % 3)
    out = tmp_path / "run"
    code, found = examined(out, *arguments)
    assert (code, bool(errors(found))) == (1, True)
    assert command == "gradients" or found["verdict"] == "does_not_learn"
    kind = "overfit" if command == "overfit" else "gradients"
    assert json.loads((out / "run.json").read_text())["missing"][kind].startswith(told)


def test_a_data_set_sorted_by_class_is_found(here: Path, tmp_path: Path) -> None:
    (tmp_path / "order.py").write_text(
        "import numpy as np, tensorflow as tf\n"
        "def sorted_batches():\n"
        "    x = np.random.default_rng(0).normal(size=(300, 4)).astype('float32')\n"
        "    y = np.repeat([0, 1, 2], 100)\n"
        "    return tf.data.Dataset.from_tensor_slices((x, y)).batch(10)\n"
    )
    _, found = examined(
        tmp_path / "run", "gradients", "--model", "net.py:flat", "--steps", "1",
        "--data", f"{tmp_path}/order.py:sorted_batches",
    )  # fmt: skip
    assert "SD609" in {finding["rule"] for finding in found["findings"]}
