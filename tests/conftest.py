"""What all tests share."""

from __future__ import annotations

import gc
import os
import random
import re
import signal
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings

from saldiag import progress

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

# What a user's shell or a CI system says of terminals: rich and click draw by it.
for name in ("FORCE_COLOR", "NO_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "COLUMNS", "LINES"):
    os.environ.pop(name, None)

# Processes that tests start run this checkout, whichever one is installed.
ROOT = Path(__file__).parents[1]
OURS = os.pathsep.join(str(ROOT / folder) for folder in ("", "probes", "reports"))
THEIRS = os.environ.get("PYTHONPATH")
os.environ["PYTHONPATH"] = f"{OURS}{os.pathsep}{THEIRS}" if THEIRS else OURS

# TensorFlow leaves half a million objects behind, which full collections look at again and again.
gc.set_threshold(50_000, 20, 100)

# A shell that starts us in the background has us ignore Ctrl-C, which some tests are about.
signal.signal(signal.SIGINT, signal.default_int_handler)

# A shared machine is noisy: no test is judged by the clock, and no stage is slow.
progress.SILENT_SECONDS = 1e6
settings.register_profile("saldiag", deadline=None)
settings.load_profile("saldiag")


class NoTensorFlow:
    """An import hook that fails tests which import TensorFlow and are not marked so."""

    def find_spec(self, name: str, *_: Any) -> None:
        """Let everything through but TensorFlow and Keras."""
        if name in ("tensorflow", "keras"):
            raise ImportError(f"{name} is imported by a test without pytest.mark.tensorflow")


def without_tensorflow(config: pytest.Config) -> bool:
    """Whether the session leaves out the tests that are marked ``tensorflow``."""
    return "not tensorflow" in (config.option.markexpr or "")


def pytest_configure(config: pytest.Config) -> None:
    """Enforce the mark ``tensorflow``: where such tests are left out, nothing may import it."""
    if without_tensorflow(config):
        sys.meta_path.insert(0, NoTensorFlow())  # type: ignore[arg-type]


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Modules that are marked as a whole are not even imported where they are left out."""
    if not without_tensorflow(config) or collection_path.suffix != ".py":
        return None
    marks = re.search(
        r"^pytestmark = (.*?)$(?!\n\s)", collection_path.read_text(), re.MULTILINE | re.DOTALL
    )
    return True if marks and "mark.tensorflow" in marks[1] else None


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Real photographs with masks and pretrained weights; they are not part of the project."""
    folder = Path(__file__).parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the real data (../shared/data) is not here")
    return folder


@pytest.fixture
def here(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory: the test's own folder, with the text ``PROGRAM`` of its module.

    The text, where the module has one, is in ``net.py``.
    """
    text = getattr(request.module, "PROGRAM", None)
    if text is not None:
        (tmp_path / "net.py").write_text(textwrap.dedent(text), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def keras() -> Any:
    """Keras, imported by the tests that need it and not while they are collected."""
    import keras

    return keras


def seed(item: pytest.Item | pytest.FixtureRequest) -> None:
    """The same random numbers on every machine; TensorFlow's where the test uses it."""
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002 - what programs draw from
    if "tensorflow" in item.keywords:
        import keras

        keras.utils.set_random_seed(0)


def pytest_fixture_setup(
    fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest
) -> None:
    """What tests share is made from the same numbers, whichever of them is the first."""
    if fixturedef.scope != "function":
        seed(request)


@pytest.fixture(autouse=True)
def seeded(request: pytest.FixtureRequest) -> None:
    """A test draws what it draws when it runs alone."""
    seed(request)


@pytest.fixture(autouse=True, scope="module")
def frozen() -> Iterator[None]:
    """What a module leaves behind, TensorFlow's functions above all, is not looked at again."""
    yield
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def forgotten(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Modules that a test imports from its own files: another one's are called the same."""
    before, search = set(sys.modules), list(sys.path)
    yield
    sys.path[:] = search
    made = str(tmp_path_factory.getbasetemp())
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", None)).startswith(made):
            del sys.modules[name]


@pytest.fixture(autouse=True)
def closed_scopes() -> Iterator[None]:
    """A test that leaves a name scope of Keras open renames the variables of all that follow."""
    yield
    state = sys.modules.get("keras.src.backend.common.global_state")
    scopes = state.get_global_attribute("name_scope_stack") if state else None
    names = [scope.name for scope in scopes or ()]
    if scopes:
        scopes.clear()
    assert names == []


@pytest.fixture
def half(keras: Any) -> Iterator[None]:
    """The mixed_float16 policy for the time of a test."""
    keras.mixed_precision.set_global_policy("mixed_float16")
    yield
    keras.mixed_precision.set_global_policy("float32")


@pytest.fixture(scope="session")
def pretrained() -> Any:
    """Made-up weights of a whole encoder, none of which is at its start value."""
    from saldiag.quicksal.blocks.mobilenet_v2 import UNITS
    from saldiag.quicksal.pretrained.weights import EncoderWeights

    rng = np.random.default_rng(5)
    layers = {}
    for unit in UNITS:
        fan = np.prod(unit.kernel[:2]) * (1 if "depthwise" in unit.conv else unit.kernel[2])
        layers[unit.conv] = [rng.normal(0, np.sqrt(2 / fan), unit.kernel).astype(np.float32)]
        ones = [rng.uniform(0.5, 1.5, unit.channels).astype(np.float32) for _ in range(4)]
        layers[unit.norm] = [ones[0], ones[1] - 1, ones[2] - 1, ones[3]]
    return EncoderWeights("file", layers)


@pytest.fixture
def program(tmp_path: Path, monkeypatch: Any, capsys: Any) -> Any:
    """``saldiag run`` in this process: a program's text to exit code, diagnosis and output.

    The program's warnings are its own: they are left out, or with ``warned="default"`` shown.
    """
    import json
    import warnings

    from saldiag.app.program.options import ProgramOptions
    from saldiag.app.program.run import run_program

    monkeypatch.chdir(tmp_path)

    def run(
        code: str, name: str = "run", warned: Any = "ignore", **options: Any
    ) -> tuple[int, Any, Any]:
        (tmp_path / "program.py").write_text(textwrap.dedent(code))
        out = tmp_path / name
        with warnings.catch_warnings():
            warnings.simplefilter(warned)
            result = run_program(ProgramOptions(tmp_path / "program.py", out=out, **options))
        monkeypatch.chdir(tmp_path)  # the program may have gone elsewhere
        found = out / "diagnosis.json"
        return (
            result,
            json.loads(found.read_text()) if found.exists() else None,
            capsys.readouterr(),
        )

    return run


@pytest.fixture(autouse=True)
def unhooked() -> Iterator[None]:
    """A test that leaves a method of Keras hooked disturbs those that follow."""
    yield
    engine = sys.modules.get("saldiag_probes.hooks.engine")
    if engine is None:
        return
    left = engine.HOOKS.subscriptions
    for subscription in left:
        subscription.cancel()
    assert not left, [subscription.handlers for subscription in left]
