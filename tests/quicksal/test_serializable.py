"""A saved model loads after ``import saldiag`` alone, which imports no Keras."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from saldiag import serializable
from tests.support import models

ROOT = Path(serializable.__file__).parent


def python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", code],
        capture_output=True, text=True, check=False, cwd=ROOT.parent,
    )  # fmt: skip


def test_importing_saldiag_imports_no_framework() -> None:
    code = (
        "import saldiag, sys; sys.exit(bool({'keras', 'tensorflow', 'numpy'} & set(sys.modules)))"
    )
    assert python(code).returncode == 0


def test_the_modules_that_register_classes_are_found_in_their_source() -> None:
    mentions = {
        path.stem
        for folder in ("quicksal", "recipes")
        for path in (ROOT / folder).rglob("*.py")
        if "@keras.saving.register_keras_serializable" in path.read_text(encoding="utf-8")
    }
    found = serializable.registering_modules()
    assert {name.rpartition(".")[2] for name in found} >= mentions >= {"inception", "losses"}
    assert "saldiag.quicksal.silenced" not in found, "importing it changes Keras' warnings"


@pytest.mark.tensorflow
def test_every_registered_class_is_found_by_its_name(keras: Any) -> None:
    lookup = sys.modules["keras.src.saving.object_registration"]
    for name in serializable.registering_modules():
        module = importlib.import_module(name)
        own = [v for v in vars(module).values() if getattr(v, "__module__", None) == name]
        registered = [v for v in own if keras.saving.get_registered_name(v) != v.__name__]
        assert registered, name
        for cls in registered:
            assert lookup.get_registered_object(keras.saving.get_registered_name(cls)) is cls  # type: ignore[attr-defined]
    assert lookup.get_registered_object("saldiag>Nothing") is None  # type: ignore[attr-defined]
    assert lookup.get_registered_object("other>InceptionBlock") is None  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory, keras: Any) -> Path:
    """A compiled model with layers, a loss, metrics and a schedule of saldiag's."""
    import numpy as np

    from saldiag.quicksal.blocks.bir import BottleneckInvertedResidual
    from saldiag.quicksal.blocks.inception import InceptionBlock
    from saldiag.recipes.saliency_training import Recipe

    keras.utils.set_random_seed(0)
    model = models.in_form(
        "functional",
        (8, 8, 3),
        BottleneckInvertedResidual(3, 4, expansion=2, strides=2, name="bir"),
        InceptionBlock(4, 1, (1, 3), expansion=2, name="inception"),
        keras.layers.Activation("sigmoid"),
    )
    Recipe(loss="dice", image_size=32, precision="float32").compiled(model)
    model.fit(np.zeros((2, 8, 8, 3), "f"), np.zeros((2, 8, 8, 1), "f"), verbose=0)
    path = tmp_path_factory.mktemp("saved") / "best.keras"
    model.save(path)
    return path


@pytest.mark.slow
@pytest.mark.tensorflow
@pytest.mark.parametrize("imports", ["saldiag, keras", "keras, saldiag"])
def test_a_saved_model_loads_after_import_saldiag(saved: Path, imports: str) -> None:
    code = f"""
import {imports}
import sys
before = [name for name in sys.modules if name.startswith("saldiag.quicksal")]
assert not before, before
plain = keras.models.load_model({str(saved)!r}, compile=False)
assert type(plain.get_layer("inception")).__name__ == "InceptionBlock"
model = keras.models.load_model({str(saved)!r})
import numpy as np
told = model.evaluate(
    np.zeros((2, 8, 8, 3), "f"), np.zeros((2, 8, 8, 1), "f"), verbose=0, return_dict=True
)
assert {{"loss", "mae", "max_f_beta", "weighted_f_beta"}} <= set(told), told
assert type(model.loss).__name__ == "SoftDice"
assert "saldiag.quicksal.silenced" not in sys.modules
"""
    done = python(code)
    assert done.returncode == 0, done.stderr[-3000:]
