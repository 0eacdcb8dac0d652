"""Running a script or a notebook as Python would, and what is left out of cells."""

from __future__ import annotations

import json
import sys

import pytest

from saldiag.core.errors import SaldiagError
from saldiag.subject.program.notebook import plain_python, read_notebook, run_notebook
from saldiag.subject.program.script import print_error, run_script


@pytest.fixture
def script(tmp_path):
    def write(code: str):
        path = tmp_path / "program.py"
        path.write_text(code)
        return path

    return write


class TestScript:
    def test_is_main_and_has_its_arguments_folder_and_file(self, script, capsys):
        path = script(
            "import sys, os\n"
            "print(__name__, sys.argv[1:], sys.path[0] == os.path.dirname(__file__))\n"
            "import __main__; print(__main__.__file__ == __file__)\n"
        )
        ended = run_script(path, ["-x", "1"])
        assert (ended.how, ended.code) == ("finished", 0)
        assert capsys.readouterr().out == "__main__ ['-x', '1'] True\nTrue\n"

    def test_leaves_the_process_as_it_was(self, script):
        main, argv, search = sys.modules["__main__"], sys.argv, list(sys.path)
        run_script(script("import sys; sys.argv = []; sys.path.clear(); 1 / 0"), [])
        assert (sys.modules["__main__"], sys.argv, sys.path) == (main, argv, search)

    @pytest.mark.parametrize(
        ("code", "how", "number"),
        [
            ("import sys; sys.exit()", "exited", 0),
            ("import sys; sys.exit(7)", "exited", 7),
            ("import sys; sys.exit('no')", "exited", 1),
            ("raise KeyboardInterrupt", "interrupted", 130),
            ("1 / 0", "raised", 1),
            ("x = (", "raised", 1),
        ],
    )
    def test_tells_how_it_ended(self, script, code, how, number):
        ended = run_script(script(code), [])
        assert (ended.how, ended.code) == (how, number)

    def test_a_traceback_begins_in_the_program(self, script, capsys):
        path = script("def f():\n    return 1 / 0\nf()\n")
        print_error(run_script(path, []).error)
        shown = capsys.readouterr().err
        assert shown.startswith("Traceback (most recent call last):\n  File ")
        assert shown.count("  File ") == 2
        assert "saldiag" not in shown.replace(str(path), "")

    def test_what_is_not_there_is_named(self, tmp_path):
        with pytest.raises(SaldiagError, match=r"nothing\.py"):
            run_script(tmp_path / "nothing.py", [])


class TestCells:
    @pytest.mark.parametrize(
        ("cell", "code", "left_out"),
        [
            ("x = 1\ny = x % 2", "x = 1\ny = x % 2", []),
            ("%matplotlib inline\nx = 1", "pass\nx = 1", ["%matplotlib inline"]),
            ("if a:\n    !ls\nb", "if a:\n    pass\nb", ["!ls"]),
            ("files = !ls *.py", "files = None", ["files = !ls *.py"]),
            ("%%bash\nrm -rf /", "", ["%%bash"]),
            ("%%time\nx = 1", "\nx = 1", ["%%time"]),
            ("keras.layers?", "", ["keras.layers?"]),
            ("a = (8\n  % 3)", "a = (8\n  % 3)", []),
            ("s = '''\n!not a shell\n'''", "s = '''\n!not a shell\n'''", []),
        ],
    )
    def test_what_only_ipython_understands_is_left_out(self, cell, code, left_out):
        assert plain_python(cell) == (code, left_out)


def notebook(path, *cells, tags=()):
    made = [
        {
            "cell_type": "code", "source": cell, "metadata": {"tags": list(tags)},
            "outputs": [], "execution_count": None,
        }
        for cell in cells
    ]  # fmt: skip
    text = {"cell_type": "markdown", "source": "# Title", "metadata": {}}
    path.write_text(
        json.dumps({"cells": [text, *made], "metadata": {}, "nbformat": 4, "nbformat_minor": 4})
    )
    return path


class TestNotebook:
    def test_cells_share_their_names_and_count_their_lines(self, tmp_path, capsys):
        path = notebook(tmp_path / "a.ipynb", "x = 1", "%pip install y\nprint(x)", "\n1 / 0", "x?")
        notes = []
        ended = run_notebook(path, [], notes.append)
        assert ended.how == "raised"
        assert capsys.readouterr().out == "1\n"
        assert [note.rpartition(": ")[2] for note in notes] == ["%pip install y", "x?"]
        print_error(ended.error)
        assert f'File "{path}[3]", line 2' in capsys.readouterr().err

    def test_a_cell_that_may_raise_does_not_end_it(self, tmp_path, capsys):
        path = notebook(tmp_path / "a.ipynb", "1 / 0", "print('on')", tags=["raises-exception"])
        assert run_notebook(path, [], print).how == "finished"
        assert "on" in capsys.readouterr().out

    def test_the_shell_takes_calls_and_says_so(self, tmp_path):
        path = notebook(tmp_path / "a.ipynb", "get_ipython().run_line_magic('cd', '..')")
        notes = []
        assert run_notebook(path, [], notes.append).how == "finished"
        assert "run_line_magic" in notes[0]

    @pytest.mark.parametrize("text", ["{", "[]", '{"cells": 1}'])
    def test_what_is_no_notebook_is_named(self, tmp_path, text):
        path = tmp_path / "bad.ipynb"
        path.write_text(text)
        with pytest.raises(SaldiagError, match=r"bad\.ipynb: not a notebook"):
            read_notebook(path)
