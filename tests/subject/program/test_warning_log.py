"""Framework warnings are recorded whatever the filters say, and programs see no difference."""

from __future__ import annotations

import importlib.util
import inspect
import logging
import subprocess
import sys
import warnings
from pathlib import Path
from types import ModuleType

import pytest

from saldiag.subject.program.warning_log import recording_warnings
from saldiag.subject.source import stack_frames

ATTRIBUTED = """
import warnings
warnings.simplefilter("always")
def deprecated(level):
    warnings.warn(f"level {level}", UserWarning, stacklevel=level)
for level in range(5):
    deprecated(level)
warnings.warn("far", stacklevel=99)
"""
WATCHED = """
from pathlib import Path
from saldiag.subject.program.script import run_script
from saldiag.subject.program.warning_log import recording_warnings
with recording_warnings():
    run_script(Path("program.py"), [])
"""


@pytest.fixture
def framework(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A module that lies where Keras would."""
    path = tmp_path / "keras" / "layer.py"
    path.parent.mkdir()
    path.write_text(
        "import warnings\n"
        "def complain(text='softmax over one channel', level=2):\n"
        "    warnings.warn(text, UserWarning, stacklevel=level)\n"
    )
    monkeypatch.setattr(stack_frames, "framework_folders", lambda: (f"{tmp_path}/keras/",))
    stack_frames.is_user_file.cache_clear()
    spec = importlib.util.spec_from_file_location("keras_fake.layer", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    stack_frames.is_user_file.cache_clear()


def test_records_what_a_filter_hides_and_who_hid_it(framework: ModuleType) -> None:
    with warnings.catch_warnings(), recording_warnings() as recorder:
        warnings.filterwarnings("ignore", category=UserWarning, module="keras_fake")
        framework.complain(level=1)
    (warning,) = recorder.warning_log().warnings
    assert warning.message == "softmax over one channel"
    assert warning.silenced
    assert warning.silenced_by is not None
    assert warning.silenced_by.file.endswith("test_warning_log.py")
    assert warning.file.endswith("test_warning_log.py")


def test_a_filter_that_hides_all_advice_is_noted_while_it_stands() -> None:
    with warnings.catch_warnings(), recording_warnings() as recorder:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
        warnings.filterwarnings("ignore", message="only this")
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        warnings.filterwarnings("ignore", category=UserWarning, module="numpy")
    assert recorder.warning_log().filters == ()
    with warnings.catch_warnings(), recording_warnings() as recorder:
        warnings.filterwarnings("ignore", category=UserWarning, module="keras")
        line = inspect.currentframe().f_lineno - 1
    (noted,) = recorder.warning_log().filters
    assert noted.file.endswith("test_warning_log.py")
    assert noted.line == line


def test_a_warning_that_is_shown_is_not_called_silenced(framework: ModuleType) -> None:
    with warnings.catch_warnings(record=True) as shown, recording_warnings() as recorder:
        warnings.simplefilter("always")
        framework.complain()
        framework.complain()
    assert len(shown) == 2
    assert shown[0].filename.endswith("test_warning_log.py"), "stack level is kept"
    counts = [(w.silenced, w.count) for w in recorder.warning_log().warnings]
    assert counts == [(False, 1), (False, 1)]


def test_the_users_own_warnings_are_not_the_frameworks(framework: ModuleType) -> None:
    with warnings.catch_warnings(), recording_warnings() as recorder:
        warnings.simplefilter("ignore")
        warnings.warn("mine", UserWarning, stacklevel=1)
    assert recorder.warning_log().warnings == ()


def test_an_error_filter_still_raises(framework: ModuleType) -> None:
    with warnings.catch_warnings(), recording_warnings() as recorder:
        warnings.simplefilter("error")
        with pytest.raises(UserWarning, match="one channel"):
            framework.complain()
    assert len(recorder.warning_log().warnings) == 1


def test_everything_is_put_back() -> None:
    logger = logging.getLogger("tensorflow")
    before = (warnings.warn, warnings.filterwarnings, warnings.simplefilter, dict(vars(logger)))
    with recording_warnings():
        assert warnings.warn is not before[0]
    after = (warnings.warn, warnings.filterwarnings, warnings.simplefilter, dict(vars(logger)))
    assert after == before


def test_a_warning_is_attributed_as_if_saldiag_were_not_there(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(ATTRIBUTED)
    (tmp_path / "watched.py").write_text(WATCHED)
    alone, watched = (
        subprocess.run(
            [sys.executable, name], capture_output=True, text=True, check=True, cwd=tmp_path
        )
        for name in ("program.py", "watched.py")
    )
    assert watched.stderr == alone.stderr
    assert watched.stderr.count("sys:1: UserWarning") == 3


def test_a_log_names_its_caller() -> None:
    logger = logging.getLogger("tensorflow")
    seen: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = seen.append  # type: ignore[method-assign]
    logger.addHandler(handler)

    def log() -> None:
        logger.warning("%(a)s", {"a": 1})
        logger.log(logging.WARNING, "plain")

    try:
        log()
        with recording_warnings():
            log()
    finally:
        logger.removeHandler(handler)
    alone, recorded = seen[:2], seen[2:]
    assert len(recorded) == 2
    for before, after in zip(alone, recorded, strict=True):
        assert (after.filename, after.funcName) == (before.filename, before.funcName)


@pytest.mark.tensorflow
def test_keras_one_channel_softmax_warning_is_recorded() -> None:
    import keras
    import numpy as np

    with warnings.catch_warnings(), recording_warnings() as recorder:
        warnings.filterwarnings("ignore", category=UserWarning, module="keras")
        model = keras.Sequential([keras.layers.Dense(1, activation="softmax")])
        model(np.ones((2, 3), "float32"))
    messages = [w.message for w in recorder.warning_log().warnings if w.silenced]
    assert any("softmax over axis" in message for message in messages), messages


@pytest.mark.tensorflow
def test_tensorflow_logger_is_recorded_even_when_turned_down() -> None:
    import tensorflow as tf
    from tensorflow.python.platform import tf_logging

    logger = tf.get_logger()
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with recording_warnings() as recorder:
            tf_logging.warning("retracing %d times", 5)
            logger.warning("the user's own")
    finally:
        logger.setLevel(level)
    (warning,) = recorder.warning_log().warnings
    assert warning.message == "retracing 5 times"
    assert warning.silenced
