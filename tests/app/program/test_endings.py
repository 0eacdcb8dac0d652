"""How programs end: one that cannot be stopped, and whose error it was."""

from __future__ import annotations

import json
import textwrap

import pytest

from tests.support.command_line import run_saldiag_process

pytestmark = [pytest.mark.tensorflow, pytest.mark.slow]

FRAME = """
import os, sys
import numpy as np, keras, tensorflow as tf
keras.utils.set_random_seed(0)
x = np.random.default_rng(0).standard_normal((32, 4)).astype("float32")
y = (x.sum(axis=1, keepdims=True) > 0).astype("float32")
def build(name):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1, "sigmoid")], name=name)
    model.compile("adam", "binary_crossentropy")
    return model
def stepping(model):
    optimizer = keras.optimizers.Adam()
    def step(x, y):
        with tf.GradientTape() as tape:
            loss = keras.ops.mean((y - model(x, training=True)) ** 2)
        weights = model.trainable_variables
        optimizer.apply(tape.gradient(loss, weights), weights)
    return step
"""
STUBBORN = """
step = decorated(stepping(build("model")))
while True:
    try:
        step(x, y)
    except:
        print("went on")
"""


@pytest.mark.parametrize("decorated", ["tf.function", "lambda f: f"])
def test_a_program_that_catches_everything_is_ended_with_its_report(decorated, tmp_path):
    """In a process of its own, which ends in the middle of the program."""
    (tmp_path / "program.py").write_text(f"{FRAME}\ndecorated = {decorated}\n{STUBBORN}")
    options = ("--steps", "3", "--format", "json", "--out", "run", "program.py")
    ended = run_saldiag_process("run", *options, cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr.count("went on\n") == 20
    assert "--steps 3; the program continued 20 times: ending its process" in ended.stderr
    assert json.loads(ended.stdout)["verdict"] == "inconclusive"
    assert json.loads((tmp_path / "run" / "run.json").read_text())["status"] == "finished"
    assert (tmp_path / "run" / "report.html").exists()


CRASHES = {
    "fit": "first.fit(np.ones((8, 7)), y[:8], verbose=0)",
    "train_on_batch": "first.train_on_batch(np.ones((8, 7)), y[:8])",
    "a loop": "step = stepping(first)\nstep(x, y)\nstep(np.ones((8, 7)), y[:8])",
    "a graph": "step = tf.function(stepping(first))\nstep(x, y)\nstep(np.ones((8, 7)), y[:8])",
    "the loss": "step = stepping(first)\nstep(x, y)\nfirst.fit(x, np.ones((32, 3)), verbose=0)",
    "a loop that never began": 'third = build("third")\nstepping(third)(np.ones((8, 7)), y[:8])',
}


@pytest.mark.parametrize("crash", CRASHES)
def test_the_error_stands_with_the_model_it_comes_from(crash, program, tmp_path):
    code, _, shown = program(
        FRAME
        + textwrap.dedent("""
            first, second = build("first"), build("second")
            first.fit(x, y, verbose=0)
            second.fit(x, y, verbose=0)
            """)
        + CRASHES[crash]
    )
    assert code == 1, shown.err
    folders = (tmp_path / "run", *(tmp_path / "run").glob("model-*"))
    found = [json.loads((folder / "diagnosis.json").read_text()) for folder in folders]
    crashed = {
        one["subject"]["model"]: one["root_cause"]
        for one in found
        if "SD904" in {finding["rule"] for finding in one["findings"]}
    }
    assert list(crashed) == ["third" if crash == "a loop that never began" else "first"]


def test_an_error_of_no_model_stands_with_the_last(program, tmp_path):
    code, _, _ = program(
        FRAME
        + 'for name in ("first", "second"):\n    build(name).fit(x, y, verbose=0)\n'
        + "keras.layers.Dense(3, activation='rele')"
    )
    assert code == 1
    (last,) = (tmp_path / "run").glob("model-2-second")
    assert json.loads((last / "diagnosis.json").read_text())["root_cause"]["rule"] == "SD904"


HEALTHY = FRAME + 'build("model").fit(x, y, verbose=0)\n'


@pytest.mark.parametrize(
    ("end", "code", "note"),
    [
        ("raise SystemExit(7)", 2, "the program ended with exit code 7"),
        ("raise SystemExit('no')", 2, "the program ended with exit code 1"),
        ("raise SystemExit(0)", 0, None),
        ("raise SystemExit", 0, None),
    ],
)
def test_the_exit_code_of_the_program_counts(end, code, note, program, tmp_path):
    result, _, shown = program(HEALTHY + end)
    assert result == code, shown.err
    notes = json.loads((tmp_path / "run" / "run.json").read_text())["notes"]
    assert notes == ([note] if note else [])
    assert ("exit code" in shown.err) is bool(note)
    assert ("no\n" in shown.err) is ("'no'" in end)
    assert (note or "exit code 7") in (tmp_path / "run" / "report.html").read_text() or not note


def test_forked_children_leave_the_run_alone(tmp_path):
    """They train before the parent does, exit, fail, and go on to the end of the script."""
    (tmp_path / "program.py").write_text(FRAME + FORKS)
    ended = run_saldiag_process("run", "--out", "run", "program.py", cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    shown = ended.stdout
    assert "children left with [7, 5, 1, 0]\n" in shown
    assert shown.count("trained") == 2
    assert shown.count("Report: ") == 1
    assert ended.stderr.count("ZeroDivisionError") == 1
    assert ended.stderr.count("saldiag: ") == 1, "TensorFlow starts once"
    assert json.loads((tmp_path / "run" / "run.json").read_text())["status"] == "finished"
    assert not list((tmp_path / "run").glob("model-*"))


FORKS = """
import multiprocessing
def fork(work):
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        work()
        return None
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
def train():
    build("child").fit(x[:4], y[:4], verbose=0)
    print("trained", flush=True)
    sys.exit(7)
codes = [fork(train)]
child = multiprocessing.get_context("fork").Process(target=train)
child.start()
child.join()
assert child.exitcode == 7
build("model").fit(x, y, verbose=0)
for work in (lambda: sys.exit(5), lambda: 1 / 0, lambda: None):
    codes.append(fork(work))
    if codes[-1] is None:
        break
else:
    print("children left with", codes)
"""


def test_json_alone_is_on_stdout(tmp_path):
    """Whatever the program writes, and whichever way: also in children, and at its exit."""
    writes = """
import atexit, subprocess
subprocess.run([sys.executable, "-c", "print('from a process')"])
os.write(1, b"to the descriptor\\n")
sys.__stdout__.write("to the first stdout\\n")
atexit.register(lambda: print("at exit"))
sys.stdout.flush()
if (child := os.fork()) == 0:
    print("from a child")
    sys.exit()
os.waitpid(child, 0)
"""
    (tmp_path / "program.py").write_text(HEALTHY + writes)
    ended = run_saldiag_process("run", "--format", "json", "program.py", cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout)["verdict"] == "inconclusive"
    for text in ("process", "descriptor", "first stdout", "at exit", "from a child"):
        assert text in ended.stderr


class TestBackends:
    """A run in a process of its own: this one has imported Keras."""

    @pytest.fixture(autouse=True)
    def surroundings(self, tmp_path, monkeypatch):
        monkeypatch.setenv("KERAS_HOME", str(tmp_path))
        monkeypatch.delenv("KERAS_BACKEND", raising=False)
        monkeypatch.chdir(tmp_path)

    def test_keras_alone_runs_on_tensorflow(self, tmp_path, monkeypatch):
        monkeypatch.setenv("KERAS_BACKEND", "jax")
        program = FRAME.replace(", tensorflow as tf", "")
        program += 'build("model").fit(x, y, verbose=0)\nprint(keras.backend.backend())\n'
        program += 'print(os.environ["KERAS_BACKEND"])\n'
        (tmp_path / "program.py").write_text(program)
        ended = run_saldiag_process("run", "--out", "run", "program.py")
        assert ended.returncode == 0, ended.stderr
        assert ended.stdout.startswith("tensorflow\ntensorflow\n")
        line = 'KERAS_BACKEND sets the backend "jax"; the program imports neither jax nor torch'
        assert ended.stderr.count(line) == 1
        assert line in json.loads((tmp_path / "run" / "run.json").read_text())["notes"][0]

    def test_a_program_that_sets_another_is_told_so(self, tmp_path):
        sets = 'import os\nos.environ["KERAS_BACKEND"] = "torch"\n'
        (tmp_path / "program.py").write_text(sets + FRAME + 'build("m").fit(x, y, verbose=0)\n')
        ended = run_saldiag_process("run", "--out", "run", "program.py")
        assert ended.returncode == 0, ended.stderr
        assert ended.stderr.count('program.py:2 sets the backend "torch"; the program') == 1

    def test_what_cannot_is_refused_before_anything_runs(self, tmp_path):
        (tmp_path / "keras.json").write_text('{"backend": "torch"}')
        (tmp_path / "program.py").write_text("print('ran')\nimport torch")
        (tmp_path / "net.py").write_text("import keras\nimport jax\ndef model(): 1 / 0")
        for arguments, refused in (
            (["run", "program.py"], "program.py:2 imports torch"),
            (["gradients", "--model", "net.py:model"], "net.py:2 imports jax"),
            (["train", "--model", "net:model"], "net.py:2 imports jax"),
            (["dtypes", "--model", "quicksal", "--backend", "keep"], "without --backend keep"),
        ):
            ended = run_saldiag_process(*arguments)
            assert ended.returncode == 2
            assert ended.stdout == ""
            assert refused in ended.stderr
            assert "keras.json sets the backend" in ended.stderr
            assert len(ended.stderr.strip().splitlines()) == 1
            assert not (tmp_path / "saldiag-runs").exists()
