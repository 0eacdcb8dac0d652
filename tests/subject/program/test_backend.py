"""Which backend a program would run on, read from its surroundings and its source."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from saldiag.core.errors import SaldiagError
from saldiag.subject.program.backend import (
    configured_backend,
    require_tensorflow,
    select_tensorflow,
    tensorflow_instead,
)
from saldiag.subject.program.source_backends import read_backends
from tests.support.command_line import run_python


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keras' folder, empty; no variable is set, and the test's folder is the working directory."""
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("KERAS_HOME", str(folder))
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    monkeypatch.chdir(tmp_path)
    return folder


@pytest.fixture
def source(tmp_path: Path):
    def write(code: str, name: str = "train.py") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(code)
        return Path(name)

    return write


class TestConfigured:
    def test_by_default_it_is_tensorflow(self):
        assert configured_backend().name == "tensorflow"

    def test_the_file_counts_and_the_variable_more(self, home, monkeypatch):
        (home / "keras.json").write_text(json.dumps({"backend": "torch"}))
        found = configured_backend()
        assert (found.name, found.where) == ("torch", str(home / "keras.json"))
        monkeypatch.setenv("KERAS_BACKEND", "")  # as Keras: an empty variable is none
        assert configured_backend().name == "torch"
        monkeypatch.setenv("KERAS_BACKEND", "jax")
        found = configured_backend()
        assert (found.name, found.where) == ("jax", "KERAS_BACKEND")

    @pytest.mark.parametrize("text", ["{", "[]", "{}", '{"backend": 1}'])
    def test_a_file_that_says_nothing(self, home, text):
        (home / "keras.json").write_text(text)
        assert configured_backend().name == "tensorflow"

    def test_it_is_set_to_tensorflow(self, home, monkeypatch):
        import os

        select_tensorflow()
        assert "KERAS_BACKEND" not in os.environ, "only where it is needed"
        monkeypatch.setenv("KERAS_BACKEND", "jax")
        select_tensorflow()
        assert os.environ["KERAS_BACKEND"] == "tensorflow"

    def test_keras_on_another_backend_is_refused(self, monkeypatch):
        monkeypatch.setenv("KERAS_BACKEND", "jax")
        monkeypatch.setitem(__import__("sys").modules, "keras", None)
        with pytest.raises(SaldiagError, match=r'the backend is "jax" \(KERAS_BACKEND sets it\)'):
            require_tensorflow()


class TestSource:
    @pytest.mark.parametrize(
        "code",
        [
            "import jax",
            "import keras, torch.nn as nn",
            "from jax import numpy as jnp",
            "def f():\n    from flax import nnx",
            "import importlib\nimportlib.import_module('torch.utils')",
            "if True:\n    import optax\nelse:\n    pass",
            "try:\n    pass\nexcept ImportError:\n    import torchvision",
            "try:\n    import lightning\nfinally:\n    pass",
            "if keras.backend.backend() != 'jax':\n    import torch",
            "if keras.backend.backend() == 'jax':\n    pass\nelse:\n    import torch",
            "keras.config.set_backend('jax')",
        ],
    )
    def test_uses_another_framework(self, source, code):
        assert read_backends([source(code)]).foreign.startswith("train.py:")

    @pytest.mark.parametrize(
        "code",
        [
            "import keras, tensorflow as tf",
            "import jaxtyping_like, torchless",
            "x = 'import jax'  # import torch",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import jax",
            "try:\n    import jax_is_not_here\nexcept ImportError:\n    pass",
            "if keras.config.backend() == 'torch':\n    import torch",
            "if os.environ['KERAS_BACKEND'] in ('jax', 'torch'):\n    import torch",
            "keras.config.set_backend('tensorflow')",
            "from .torch import nothing",
            "x = (",
        ],
    )
    def test_uses_none(self, source, code):
        assert read_backends([source(code)]).foreign is None

    @pytest.mark.parametrize("installed", [False, True])
    def test_an_optional_import_counts_where_the_package_is_there(
        self, source, installed, monkeypatch, tmp_path
    ):
        if installed:
            (tmp_path / "lib").mkdir()
            (tmp_path / "lib" / "torch.py").write_text("")
            monkeypatch.syspath_prepend(tmp_path / "lib")
        monkeypatch.setattr(
            "saldiag.subject.program.source_backends.importlib.util.find_spec",
            lambda name: object() if installed else None,
        )
        found = read_backends([source("try:\n  import torch\nexcept ImportError:\n  torch = None")])
        assert (found.foreign is not None) is installed

    @pytest.mark.parametrize(
        ("line", "module"),
        [
            ("import net", "net.py"),
            ("import lib.net", "lib/net.py"),
            ("from lib import net", "lib/net.py"),
            ("from lib.net import build", "lib/net.py"),
            ("import lib", "lib/__init__.py"),
            ("from lib import other", "lib/__init__.py"),
        ],
    )
    def test_local_modules_count(self, source, line, module):
        source("", "lib/__init__.py")
        source("\nimport torch", module)
        assert read_backends([source(line)]).foreign == f"{module}:2 imports torch"

    def test_modules_that_import_each_other(self, source):
        source("from .b import x\nfrom . import c", "lib/a.py")
        source("from .a import y", "lib/b.py")
        source("from ..net import z", "lib/c.py")
        source("import jax", "net.py")
        assert read_backends([source("from lib import a")]).foreign == "net.py:1 imports jax"

    @pytest.mark.parametrize(
        ("code", "name"),
        [
            ("import os\nos.environ['KERAS_BACKEND'] = 'jax'", "jax"),
            ("os.environ.update(KERAS_BACKEND='torch')", "torch"),
            ("os.environ.update({'KERAS_BACKEND': 'torch', **more})", "torch"),
            ("os.environ.setdefault('KERAS_BACKEND', 'jax')", "jax"),
            ("os.environ['KERAS_BACKEND'] = chosen", "tensorflow"),
            ("print(os.environ['KERAS_BACKEND'])", "tensorflow"),
        ],
    )
    def test_sets_the_backend(self, source, code, name):
        assert read_backends([source(code)]).effective(configured_backend()).name == name

    def test_the_variable_goes_before_a_default(self, source, monkeypatch):
        found = read_backends([source("os.environ.setdefault('KERAS_BACKEND', 'jax')")])
        monkeypatch.setenv("KERAS_BACKEND", "torch")
        assert found.effective(configured_backend()).name == "torch"

    def test_cells_of_a_notebook(self, tmp_path):
        cells = [
            {"cell_type": "code", "source": text, "metadata": {}, "outputs": [],
             "execution_count": None}
            for text in ("%pip install keras", "!nvidia-smi\nimport torch")
        ]  # fmt: skip
        written = {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 4}
        (tmp_path / "train.ipynb").write_text(json.dumps(written))
        found = read_backends([Path("train.ipynb")])
        assert found.foreign == "train.ipynb[2]:2 imports torch"


class TestDecision:
    def test_nothing_is_said_on_tensorflow(self, source):
        path = source("import torch, keras")
        assert tensorflow_instead("the program", [path], keep=True) is None

    def test_a_program_of_keras_alone_runs_on_tensorflow(self, source, monkeypatch):
        monkeypatch.setenv("KERAS_BACKEND", "jax")
        line = tensorflow_instead("the program", [source("import keras")], keep=False)
        assert line == (
            'KERAS_BACKEND sets the backend "jax"; the program imports neither jax nor torch, so it'
            " runs on TensorFlow (--backend keep refuses instead)"
        )

    def test_or_is_refused_on_request(self, source, monkeypatch):
        monkeypatch.setenv("KERAS_BACKEND", "jax")
        with pytest.raises(SaldiagError, match="without --backend keep, the program runs on"):
            tensorflow_instead("the program", [source("import keras")], keep=True)

    def test_a_program_that_imports_one_is_refused(self, source, monkeypatch):
        path = source("import keras\nimport torch")
        monkeypatch.setenv("KERAS_BACKEND", "torch")
        with pytest.raises(SaldiagError, match=r"^train\.py:2 imports torch, and KERAS_BACKEND"):
            tensorflow_instead("the program", [path], keep=False)

    def test_a_program_that_sets_it_itself(self, source, monkeypatch):
        path = source("import os\nos.environ['KERAS_BACKEND'] = 'jax'\nimport keras")
        line = tensorflow_instead("the program", [path], keep=False)
        assert line is not None
        assert line.startswith('train.py:2 sets the backend "jax"; ')
        path = source("import os\nos.environ['KERAS_BACKEND'] = 'tensorflow'\nimport torch")
        monkeypatch.setenv("KERAS_BACKEND", "torch")
        assert tensorflow_instead("the program", [path], keep=False) is None


RUNNING = """
import sys, types
sys.modules["keras"] = types.SimpleNamespace(backend=types.SimpleNamespace(backend=lambda: "jax"))
"""


@pytest.mark.parametrize("running", ["", RUNNING])
def test_the_python_interface_refuses_another_backend(running, monkeypatch):
    if not running:
        monkeypatch.setenv("KERAS_BACKEND", "jax")
    shown = run_python(
        f"import saldiag\n{running}"
        "for name in ('Watch', 'watch', 'diagnose'):\n"
        "    try:\n        getattr(saldiag, name)\n"
        "    except Exception as error:\n        print(type(error).__name__, error)\n"
    ).stdout
    beginning = 'SaldiagError saldiag measures Keras on TensorFlow only, and the backend is "jax"'
    assert shown.count(beginning) == 3
