"""SavedModel folders as ``--model``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from saldiag.core.errors import ModelError
from tests.support import models
from tests.support.command_line import read_diagnosis, run_saldiag

pytestmark = pytest.mark.tensorflow

X = np.random.default_rng(0).normal(size=(60, 4)).astype("float32")
Y = (X[:, :1] > 0).astype("float32")


def network(keras: Any, last: str = "sigmoid") -> Any:
    keras.utils.set_random_seed(1)
    return models.sequential(
        (4,),
        keras.layers.Dense(16, activation="relu"),
        keras.layers.BatchNormalization(),
        keras.layers.Dense(1, activation=last),
    )


@pytest.fixture
def folder(keras: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    network(keras).export(str(tmp_path / "exported"), verbose=False)
    np.savez(tmp_path / "data.npz", x=X, y=Y)
    return tmp_path / "exported"


def test_it_computes_what_was_exported_and_a_step_moves_it(keras: Any, folder: Path) -> None:
    from saldiag.subject.models.saved_model import load_saved_model

    model = load_saved_model(folder, unsafe=True)
    np.testing.assert_allclose(model(X), network(keras)(X), rtol=1e-5)
    assert len(model.trainable_variables) == 6
    assert len(model.variables) == 8
    model.compile(keras.optimizers.Adam(0.05), "binary_crossentropy", jit_compile=False)
    first = model.evaluate(X, Y, verbose=0)
    model.fit(X, Y, epochs=20, verbose=0)
    assert model.evaluate(X, Y, verbose=0) < first / 2
    assert np.abs(np.asarray(model(X)) - Y).mean() < 0.2  # plain calls have the trained weights


def test_several_inputs_go_by_their_names(keras: Any, tmp_path: Path) -> None:
    from saldiag.subject.models.saved_model import load_saved_model

    a, b = keras.Input((2,), name="a"), keras.Input((3,), name="b")
    ends = {"one": keras.layers.Dense(1)(a), "two": keras.layers.Dense(2)(b)}
    made = keras.Model({"a": a, "b": b}, ends)
    made.export(str(tmp_path / "two"), verbose=False)
    model = load_saved_model(tmp_path / "two", unsafe=True)
    given = {"a": X[:, :2], "b": X[:, 1:]}
    expected, seen = made(given), model(given)
    assert sorted(seen) == ["one", "two"]
    for name in seen:
        np.testing.assert_allclose(seen[name], expected[name], rtol=1e-5)


@pytest.mark.slow
def test_the_command_says_that_a_sound_one_learns(folder: Path) -> None:
    common = ("--data", "data.npz", "--loss", "bce", "--unsafe-load", "--learning-rate", "0.05")
    assert run_saldiag("overfit", "--model", "exported", *common, "--out", "run") == 0
    found = read_diagnosis("run")
    assert found["verdict"] == "learns"
    assert found["findings"] == []


def test_code_in_it_is_run_only_if_asked_for(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["overfit", "--model", "exported", "--data", "data.npz", "--loss", "bce"]
    assert run_saldiag(*asked) == 2
    told = capsys.readouterr().err
    assert "pass --unsafe-load if you trust it" in told
    assert told.count("\n") == 1


def test_it_has_no_loss_of_its_own(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_saldiag("overfit", "--model", "exported", "--data", "data.npz", "--unsafe-load") == 2
    assert "give --loss" in capsys.readouterr().err


def test_what_cannot_be_loaded_is_one_line(folder: Path, tmp_path: Path) -> None:
    import tensorflow as tf

    from saldiag.subject.models.saved_model import load_saved_model

    tf.saved_model.save(tf.Module(), str(tmp_path / "bare"))
    with pytest.raises(ModelError, match="has no function serving_default"):
        load_saved_model(tmp_path / "bare", unsafe=True)
    (folder / "saved_model.pb").write_bytes(b"\xff\xff")
    with pytest.raises(ModelError, match="cannot be loaded") as raised:
        load_saved_model(folder, unsafe=True)
    assert "\n" not in str(raised.value)
