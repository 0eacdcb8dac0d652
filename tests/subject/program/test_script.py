"""Running a script or a notebook as Python would, and what is left out of cells."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from saldiag.core.errors import SaldiagError
from saldiag.subject.program.notebook import plain_python, read_notebook, run_notebook
from saldiag.subject.program.script import run_script
from tests.support.command_line import run_python

SEES = """\"It says what it is.\"
import os, sys, inspect
print([(name, repr(value).split(" at ")[0]) for name, value in globals().items()])
print(__loader__.name, __loader__.path, sys.argv, sys.path[0])
os.chdir("/")
with open(__file__) as file:
    print(file.readline())
print(inspect.getsource(sys.modules["__main__"])[:9])
x: int = 1
print(__annotations__)
"""
FORKS = """
import atexit, os, sys
atexit.register(lambda: print("at exit of", "child" if os.getpid() != parent else "parent"))
parent = os.getpid()
sys.stdout.flush()
child = os.fork()
if child == 0:
    print("child")
    {end}
else:
    print("parent", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
RUNS = """
import sys
from pathlib import Path
from saldiag.subject.program.script import run_script
from tests.support.command_line import run_python
print("ended", run_script(Path("program.py"), []).how)
"""


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
            ("import sys; sys.exit(-1)", "exited", 255),
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
        run_script(path, [])
        shown = capsys.readouterr().err
        assert shown.startswith("Traceback (most recent call last):\n  File ")
        assert shown.count("  File ") == 2
        assert "saldiag" not in shown.replace(str(path), "")

    def test_sees_what_python_gives_a_script(self, tmp_path, monkeypatch, capsys):
        (tmp_path / "sub").mkdir()
        (tmp_path / "sub" / "program.py").write_text(SEES)
        monkeypatch.chdir(tmp_path)
        alone = subprocess.run(
            [sys.executable, "./sub/program.py", "-x"], capture_output=True, text=True, check=True
        )
        assert run_script(Path("sub/program.py"), ["-x"], typed="./sub/program.py").code == 0
        assert capsys.readouterr().out == alone.stdout

    def test_an_error_is_shown_by_its_own_hook(self, script, capsys, monkeypatch):
        monkeypatch.setattr(sys, "excepthook", sys.excepthook)
        ended = run_script(
            script(
                "import sys, traceback\n"
                "def hook(kind, error, trace):\n"
                "    print(kind.__name__, error, [f.name for f in traceback.extract_tb(trace)])\n"
                "sys.excepthook = hook\n"
                "def fail():\n    raise ValueError('mine')\n"
                "fail()\n"
            ),
            [],
        )
        assert (ended.how, ended.code) == ("raised", 1)
        assert capsys.readouterr() == ("ValueError mine ['<module>', 'fail']\n", "")

    def test_a_hook_may_fail_or_exit(self, script, capsys, monkeypatch):
        monkeypatch.setattr(sys, "excepthook", sys.excepthook)
        hook = "import sys\nsys.excepthook = lambda *_: {}\nraise ValueError('mine')\n"
        assert run_script(script(hook.format("1 / 0")), []).how == "raised"
        shown = capsys.readouterr().err
        assert shown.startswith("Error in sys.excepthook:\nTraceback")
        assert shown.endswith("ValueError: mine\n")
        assert "script.py" not in shown
        ended = run_script(script(hook.format("sys.exit(4)")), [])
        assert (ended.how, ended.code) == ("exited", 4)
        assert capsys.readouterr().err == ""

    def test_a_ctrl_c_is_shown_only_by_a_hook_of_its_own(self, script, capsys, monkeypatch):
        monkeypatch.setattr(sys, "excepthook", sys.excepthook)
        assert run_script(script("raise KeyboardInterrupt"), []).how == "interrupted"
        assert capsys.readouterr().err == ""
        hook = "import sys\nsys.excepthook = lambda kind, *_: print('hook', kind.__name__)\n"
        assert run_script(script(hook + "raise KeyboardInterrupt"), []).how == "interrupted"
        assert capsys.readouterr().out == "hook KeyboardInterrupt\n"

    @pytest.mark.parametrize(
        ("end", "code", "error"),
        [("sys.exit(5)", 5, ""), ("1 / 0", 1, "ZeroDivisionError"), ("pass", 0, "")],
    )
    def test_a_forked_child_leaves_as_under_python(self, tmp_path, end, code, error):
        (tmp_path / "program.py").write_text(FORKS.format(end=end))
        alone, run = (
            subprocess.run(
                [sys.executable, *words], capture_output=True, text=True, check=True, cwd=tmp_path
            )
            for words in (["program.py"], ["-c", RUNS])
        )
        assert run.stdout.replace("ended finished\n", "") == alone.stdout
        assert run.stdout.count("ended finished") == 1
        assert f"parent {code}" in run.stdout
        assert run.stderr == alone.stderr
        assert error in run.stderr

    def test_what_runs_at_interpreter_exit_finds_the_program(self, tmp_path):
        (tmp_path / "program.py").write_text(
            "import atexit, sys\n"
            "sys.path.append('mine')\n"
            "def show():\n"
            "    print(sys.modules['__main__'].__name__, sys.argv, sys.path[-1])\n"
            "    print(sys.modules['__main__'].show is show)\n"
            "import signal\n"
            "signal.signal(signal.SIGTERM, lambda *_: print('handled'))\n"
            "atexit.register(lambda: signal.raise_signal(signal.SIGTERM))\n"
            "atexit.register(lambda: print('second'))\natexit.register(show)\n"
        )
        again = RUNS + "from saldiag.subject.program.script import reinstall_program\n"
        again += "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_DFL)\n"
        done = run_python(again + "print(sys.argv)\nreinstall_program()", cwd=tmp_path)
        assert done.stdout.splitlines() == [
            "ended finished", "['-c']", "__main__ ['program.py'] mine", "True", "second", "handled",
        ]  # fmt: skip

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
        shown = capsys.readouterr()
        assert shown.out == "1\n"
        assert [note.rpartition(": ")[2] for note in notes] == ["%pip install y", "x?"]
        assert f'File "{path}[3]", line 2' in shown.err

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


def test_frames_of_models_that_saldiag_provides_are_shown(script, capsys):
    run_script(script("from saldiag.image_masks.sample import write_sample\nwrite_sample(1)\n"), [])
    shown = capsys.readouterr().err
    assert "sample.py" in shown
    assert "script.py" not in shown
