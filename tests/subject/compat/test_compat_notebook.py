"""``saldiag run --compat NOTEBOOK.ipynb``: a notebook that was written for Keras 2."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

from tests.support.command_line import read_diagnosis

pytestmark = [pytest.mark.tensorflow, pytest.mark.slow, pytest.mark.usefixtures("here")]

CELLS = (
    "%matplotlib inline\n"
    "!pip install keras==2.2\n"
    "import numpy as np\n"
    "from keras.models import Sequential\n"
    "from keras.layers.core import Dense\n"
    "from keras.optimizers import SGD",
    "x = np.random.rand(64, 4).astype(np.float)\ny = (x.sum(1) > 2).astype(np.int)",
    "model = Sequential()\n"
    "model.add(Dense(8, input_dim=4, activation='relu'))\n"
    "model.add(Dense(1, activation='{last}'))\n"
    "model.compile(loss='mse', optimizer=SGD(lr=0.1))",
    "%%time\nhistory = model.fit(x, y, nb_epoch=2, verbose=0)\nmodel.predict_classes(x[:2])",
)


def run(tmp_path: Path, last: str, *, compat: bool) -> tuple[int, dict[str, object]]:
    import nbformat.v4 as notebooks

    from saldiag.app.program.options import ProgramOptions
    from saldiag.app.program.run import run_program

    cells = [notebooks.new_code_cell(cell.replace("{last}", last)) for cell in CELLS]
    path = tmp_path / "old.ipynb"
    path.write_text(notebooks.writes(notebooks.new_notebook(cells=cells)))
    out = tmp_path / "run"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        code = run_program(ProgramOptions(Path("old.ipynb"), out=out, compat=compat))
    return code, read_diagnosis(out)


def test_old_names_are_told_with_cell_and_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, found = run(tmp_path, "sigmoid", compat=True)
    told = " ".join(capsys.readouterr().err.split())
    assert code == 0, found
    assert "old.ipynb[1]: left out: %matplotlib inline" in told
    assert "old.ipynb[1]:5: keras.layers.core is no longer supported: use keras.layers" in told
    assert "old.ipynb[2]:1: numpy.float is no longer supported" in told
    assert "old.ipynb[3]:4: lr= of keras.optimizers.Optimizer" in told
    assert "old.ipynb[4]:2: nb_epoch= of keras.Model.fit" in told
    assert "old.ipynb[4]:3: keras.Model.predict_classes" in told


def test_a_fault_is_named_in_its_cell(tmp_path: Path) -> None:
    code, found = run(tmp_path, "softmax", compat=True)
    assert code == 1
    assert found["root_cause"]["rule"] == "SD101"
    source = found["root_cause"]["source"]
    assert (source["file"], source["line"]) == ("old.ipynb[3]", 3)


def test_without_it_the_old_name_is_the_finding(tmp_path: Path) -> None:
    code, found = run(tmp_path, "sigmoid", compat=False)
    assert code == 1
    assert found["root_cause"]["rule"] == "SD904"
    assert "saldiag run --compat emulates it" in found["findings"][0]["message"]
    assert found["root_cause"]["source"]["file"] == "old.ipynb[1]"
