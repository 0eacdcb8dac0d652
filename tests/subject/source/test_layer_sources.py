"""Every layer's source line: where the user's code made it."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

from saldiag.core.files.fingerprints import FilesSeen
from saldiag.subject.source import stack_frames
from saldiag.subject.source.layer_sources import recording_sources

pytestmark = pytest.mark.tensorflow


def _line() -> int:
    frame = inspect.currentframe()
    assert frame is not None
    assert frame.f_back is not None
    return frame.f_back.f_lineno


def test_line_of_each_layer_also_inside_functions_and_subclasses() -> None:
    import keras

    class Block(keras.layers.Layer):
        def __init__(self) -> None:
            super().__init__(name="block")
            self.inner, self.inner_line = keras.layers.Dense(2), _line()

    def factory() -> tuple[object, int]:
        return keras.layers.Dense(3), _line()

    with recording_sources(FilesSeen()) as sources:
        layer, line = factory()
        block, block_line = Block(), _line()
        model, model_line = keras.Sequential([layer, block]), _line()
    found = sources.by_id()
    assert found[id(layer)].line == line
    assert found[id(block)].line == block_line
    assert found[id(block.inner)].line == block.inner_line
    assert found[id(model)].line == model_line
    assert {Path(s.file).name for s in found.values()} == {Path(__file__).name}


def test_layers_made_by_keras_itself_point_at_the_users_line() -> None:
    import keras

    with recording_sources(FilesSeen()) as sources:
        layer, line = keras.layers.Bidirectional(keras.layers.LSTM(2)), _line()
    assert sources.by_id()[id(layer.backward_layer)].line == line


def test_keras_is_left_as_it_was() -> None:
    import keras

    before = dict(vars(keras.layers.Layer))
    with recording_sources(FilesSeen()):
        assert vars(keras.layers.Layer)["__new__"] is not before["__new__"]
    assert dict(vars(keras.layers.Layer)) == before


def test_no_layer_is_kept_alive() -> None:
    import gc

    import keras

    with recording_sources(FilesSeen()) as sources:
        keras.layers.Dense(1)
    gc.collect()
    assert sources.by_id() == {}


def test_paths_below_the_working_directory_are_relative(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    stack_frames.display_path.cache_clear()
    assert stack_frames.display_path(str(tmp_path / "train.py")) == "train.py"
    assert stack_frames.display_path("/elsewhere/train.py") == "/elsewhere/train.py"
    stack_frames.display_path.cache_clear()
