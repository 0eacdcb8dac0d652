"""From a program that does not learn to one that does: run, fix --write, run again."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from tests.support.command_line import read_diagnosis, run_saldiag_process

pytestmark = [pytest.mark.tensorflow, pytest.mark.slow]

COMMON = """
    import numpy as np
    import keras
    from keras import layers as L
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
"""
HEAD = """
    x = rng.normal(size=(16, 16, 16, 3)).astype("float32")
    y = (x.mean(-1, keepdims=True) > 0).astype("float32")

    inputs = keras.Input((16, 16, 3))
    h = L.Conv2D(8, 3, padding="same", activation="relu")(inputs)
    h = L.Conv2DTranspose(8, 3, padding="same", use_bias=False, name="Convf1")(h)
    h = L.Conv2DTranspose(
        1, 3, padding="same", use_bias=False,
        activation="softmax",  # é: the paper has a softmax
        name="Convf2",
    )(h)
    model = keras.Model(inputs, L.Activation('softmax', dtype="float32", name="softmax_output")(h))
    model.compile(optimizer=keras.optimizers.Adam(1e-2), loss="mae")
    model.fit(x, y, batch_size=16, epochs=40, verbose=0)
"""
LOW = """
    x = rng.normal(size=(32, 4)).astype("float32")
    y = x.sum(axis=1, keepdims=True)
    model = keras.Sequential([keras.Input((4,)), L.Dense(16, "relu"), L.Dense(1)])
    optimizer = keras.optimizers.Adam(learning_rate=1e-9)
    model.compile(optimizer=optimizer, loss="mse")
    model.fit(x, y, epochs=60, verbose=0)
"""
LOGITS = """
    x = rng.normal(size=(64, 4)).astype("float32")
    y = x.argmax(axis=1)
    model = keras.Sequential([keras.Input((4,)), L.Dense(16, "relu"), L.Dense(4)])
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(x, y, epochs=3, verbose=0)
"""
SINGLE = """
    x = rng.normal(size=(64, 4)).astype("float32")
    y = (x.sum(axis=1) > 0).astype("float32")
    model = keras.Sequential()
    model.add(L.Dense(8, activation="relu"))
    model.add(L.Dense(1, activation="relu"))
    model.compile(loss=keras.losses.BinaryCrossentropy(), optimizer="adam")
    model.fit(x, y, epochs=3, verbose=0)
"""
LABELS = """
    x = rng.normal(size=(64, 4)).astype("float32")
    y = x.argmax(axis=1)
    model = keras.Sequential([keras.Input((4,)), L.Dense(4, "softmax")])
    model.compile(optimizer="adam", loss="categorical_crossentropy")
    model.fit(x, y, epochs=3, verbose=0)
"""


def saldiag(folder: Path, *arguments: str, code: int) -> str:
    done = run_saldiag_process(*arguments, cwd=folder)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


def test_the_head_of_the_case_learns_after_its_repair(tmp_path: Path) -> None:
    program = tmp_path / "train.py"
    program.write_text(textwrap.dedent(COMMON + HEAD), encoding="utf-8")
    before = program.read_bytes()
    saldiag(tmp_path, "run", "--overfit", "--out", "one", "train.py", code=1)
    assert read_diagnosis(tmp_path / "one")["verdict"] == "does_not_learn"
    diff = saldiag(tmp_path, "fix", "one", code=1)
    assert read_diagnosis(tmp_path / "one")["findings"][0]["diff"] == diff
    saldiag(tmp_path, "fix", "one", "--write", code=0)
    wanted = before.replace(b'activation="softmax"', b"activation=None")
    assert program.read_bytes() == wanted.replace(b"'softmax'", b"'sigmoid'")
    saldiag(tmp_path, "run", "--overfit", "--out", "two", "train.py", code=0)
    assert read_diagnosis(tmp_path / "two")["verdict"] == "learns"
    assert (tmp_path / "train.py.bak").read_bytes() == before


@pytest.mark.parametrize(
    ("code", "rule", "old", "new"),
    [
        (LOW, "SD702", "1e-9", "0.001"),
        (LOGITS, "SD106", '"sparse_categorical_crossentropy"',
         "keras.losses.SparseCategoricalCrossentropy(from_logits=True)"),
        (SINGLE, "SD107", '(1, activation="relu")', '(1, activation="sigmoid")'),
        (LABELS, "SD904", '"categorical_crossentropy"', '"sparse_categorical_crossentropy"'),
    ],
    ids=["SD702", "SD106", "SD107", "SD904"],
)  # fmt: skip
def test_a_program_is_not_at_fault_after_its_repair(code, rule, old, new, tmp_path: Path) -> None:
    program = tmp_path / "train.py"
    program.write_text(textwrap.dedent(COMMON + code))
    before = program.read_text()
    saldiag(tmp_path, "run", "--out", "one", "train.py", code=1)
    assert read_diagnosis(tmp_path / "one")["root_cause"]["rule"] == rule
    saldiag(tmp_path, "fix", "one", "--write", "--rule", rule, code=0)
    assert program.read_text() == before.replace(old, new)
    saldiag(tmp_path, "run", "--out", "two", "train.py", code=0)
    assert rule not in [found["rule"] for found in read_diagnosis(tmp_path / "two")["findings"]]


def test_a_factory_that_makes_healthy_layers_too_is_left_alone(tmp_path: Path) -> None:
    code = """
    x = rng.normal(size=(64, 4)).astype("float32")
    y = (x.sum(axis=1, keepdims=True) > 0).astype("float32")
    def block(units, h):
        return L.Dense(units, activation="softmax")(h)
    inputs = keras.Input((4,))
    model = keras.Model(inputs, block(1, block(3, inputs)))
    model.compile("adam", "mse")
    model.fit(x, y, epochs=3, verbose=0)
    """
    (tmp_path / "train.py").write_text(textwrap.dedent(COMMON + code))
    saldiag(tmp_path, "run", "--out", "one", "train.py", code=1)
    first = read_diagnosis(tmp_path / "one")["findings"][0]
    assert (first["rule"], first["diff"]) == ("SD101", "")
    assert first["by_hand"].endswith("creates other layers, too")
