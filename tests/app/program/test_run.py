"""``saldiag run``: programs of all sorts run as they are, and are diagnosed."""

from __future__ import annotations

import functools
import json
import os
import textwrap
import warnings

import pytest

from tests.support.command_line import run_saldiag_process

pytestmark = [pytest.mark.tensorflow, pytest.mark.slow]

FRAME = """
import os, sys
import numpy as np, keras, tensorflow as tf
keras.utils.set_random_seed(0)
rng = np.random.default_rng(0)
x = rng.standard_normal((64, 4)).astype("float32")
y = (x.sum(axis=1, keepdims=True) > 0).astype("float32")
def build(activation="sigmoid"):
    return keras.Sequential([
        keras.Input((4,)),
        keras.layers.Dense(8, "relu"),
        keras.layers.Dense(1, activation),
    ])
"""
FAULTY = FRAME + 'model = build("softmax")\nmodel.compile("adam", "mse")\n'
SOURCE = "keras.layers.Dense(1, activation),"
LOOP = """
optimizer = keras.optimizers.Adam()
def step(x, y):
    with tf.GradientTape() as tape:
        loss = keras.ops.mean(keras.losses.mean_squared_error(y, model(x, training=True)))
    gradients = tape.gradient(loss, model.trainable_variables)
    optimizer.apply_gradients(zip(gradients, model.trainable_variables))
"""


@pytest.fixture
def run(program):
    """Run a program's text in this process; exit code, diagnosis and what was printed."""
    return functools.partial(program, warned="default")


def classes():
    import keras
    import tensorflow as tf
    from tensorflow.python.eager.polymorphic_function.polymorphic_function import Function

    seen = [keras.Model, keras.layers.Layer, keras.Sequential, keras.optimizers.Optimizer]
    seen += [*keras.Model.__mro__, *keras.optimizers.Adam.__mro__]
    seen += [*keras.Variable.__mro__, keras.optimizers.LossScaleOptimizer, Function]
    seen += [tf.GradientTape]
    return [dict(vars(cls)) for cls in seen if cls is not object] + [warnings.warn]


class TestWhatIsNamed:
    def test_the_layer_and_its_line(self, run):
        code, found, _ = run(FAULTY + "model.fit(x, y, verbose=0)")
        assert code == 1
        assert (found["root_cause"]["rule"], found["verdict"]) == ("SD101", "does_not_learn")
        assert found["root_cause"]["source"]["text"] == SOURCE
        assert found["root_cause"]["source"]["file"] == "program.py"

    def test_the_line_that_compiles(self, run):
        code, found, _ = run(
            FRAME + 'model = build()\nmodel.compile(keras.optimizers.SGD(1e4),\n  loss="mse")\n'
            "model.fit(x, y, epochs=5, verbose=0)"
        )
        assert code == 1
        assert found["root_cause"]["rule"].startswith("SD7")
        assert found["root_cause"]["source"]["text"].startswith("model.compile(")

    def test_the_line_that_trains(self, run):
        _, found, _ = run(
            FRAME + 'x[0] = np.nan\nmodel = build()\nmodel.compile("adam", "mse")\n'
            "model.fit(x, y, verbose=0)"
        )
        assert found["root_cause"]["rule"].startswith("SD6")
        assert found["root_cause"]["source"]["text"] == "model.fit(x, y, verbose=0)"

    @pytest.mark.parametrize("decorator", ["", "step = tf.function(step)\n"])
    def test_in_a_loop_of_its_own(self, run, decorator):
        code, found, _ = run(FAULTY + LOOP + decorator + "for _ in range(8):\n    step(x, y)\n")
        assert code == 1
        assert found["root_cause"]["rule"] == "SD101"
        assert found["root_cause"]["source"]["text"] == SOURCE

    def test_the_loss_and_the_gradient_by_the_predictions_of_a_loop(self, run, tmp_path):
        """The gradients that follow from it are those that the loop itself gets."""
        import numpy as np

        from saldiag.core.files.run import Run
        from saldiag.core.measurement import GradientFlow, GradientHistory

        trained = []
        for number, decorator in enumerate(("", "step = tf.function(step)\n")):
            code = FRAME + "model = build()\n" + LOOP + decorator + "step(x, y)\nstep(x, y)\n"
            save = f"np.save({str(tmp_path / 'w.npy')!r}, model.layers[0].kernel)\n"
            result, found, _ = run(code + save, name=f"run-{number}")
            assert (result, found["verdict"]) == (0, "inconclusive")
            measured = Run(tmp_path / f"run-{number}").read_measurements()
            flow, history = measured.need(GradientFlow), measured.need(GradientHistory)
            np.testing.assert_allclose([v.norm for v in flow.variables], history.norm[0], rtol=1e-4)
            np.testing.assert_allclose(flow.loss, history.loss[0], rtol=1e-5)
            assert history.loss[1] < history.loss[0]
            assert "SD201" not in {s["rule"] for s in found["skipped"]}
            trained.append((code + save, np.load(tmp_path / "w.npy")))
        for alone, weights in trained:
            exec(compile(alone, "program.py", "exec"), {})
            assert np.array_equal(np.load(tmp_path / "w.npy"), weights)

    def test_what_a_loop_cannot_tell_is_skipped(self, run):
        _, found, _ = run(
            FRAME
            + "model = build()\n"
            + LOOP.replace("model(x, ", "model(x[::-1]) * model(x, ")
            + "step(x, y)\n"
        )
        reasons = {s["rule"]: s["reason"] for s in found["skipped"]}
        assert "2 calls of the model" in reasons["SD118"]
        assert "targets" in reasons["SD606"]

    def test_networks_that_take_turns_are_not_told_that_their_loss_should_fall(self, run, tmp_path):
        import numpy as np

        from saldiag.core.files.run import Run
        from saldiag.core.measurement import GradientHistory

        second = LOOP.replace("model", "other").replace("def step", "def go")
        second = second.replace("optimizer =", "second =").replace(
            "optimizer.apply", "second.apply"
        )
        code, _, _ = run(
            FRAME
            + "model, other = build(), build()\n"
            + LOOP
            + second
            + "for _ in range(3):\n    step(x, y)\n    go(x, y)\n"
        )
        assert code == 0
        for folder in (tmp_path / "run", *(tmp_path / "run").glob("model-2-*")):
            history = Run(folder).read_measurements().need(GradientHistory)
            assert len(history.loss) == 3
            assert np.isnan(history.loss).all()

    def test_in_train_on_batch(self, run):
        code, found, _ = run(FAULTY + "for _ in range(8):\n    model.train_on_batch(x, y)\n")
        assert code == 1
        assert found["root_cause"]["rule"] == "SD101"

    def test_labels_that_keras_refuses_beside_the_traceback(self, run):
        code, found, shown = run(
            FRAME + 'model = build()\nmodel.compile("adam", "categorical_crossentropy")\n'
            "model.fit(x, np.zeros((64, 3)), verbose=0)"
        )
        assert code == 1
        assert "Traceback" in shown.err
        assert found["findings"]

    def test_several_models_apart(self, run, tmp_path):
        code, _, shown = run(
            FAULTY + 'good = build()\ngood.compile("adam", "mse")\n'
            "good.fit(x, y, verbose=0)\nmodel.fit(x, y, verbose=0)"
        )
        assert code == 1
        assert "2 models were examined" in shown.err
        others = list((tmp_path / "run").glob("model-2-*/diagnosis.json"))
        assert len(others) == 1
        assert json.loads(others[0].read_text())["root_cause"]["rule"] == "SD101"

    def test_models_beyond_the_first_few_are_trained_and_told_of(self, run, tmp_path, monkeypatch):
        monkeypatch.setattr("saldiag.app.watching.options.MAX_MODELS", 1)
        code, found, shown = run(
            FAULTY + "model.fit(x, y, verbose=0)\n"
            "for _ in range(2):\n"
            '    more = build("softmax")\n    more.compile("sgd", "mse")\n'
            "    for _ in range(2):\n        more.fit(x, y, verbose=0)\n"
            "    print('steps', int(more.optimizer.iterations))\n"
            "model, optimizer = build(), None\n" + LOOP + "step(x, y)\nstep(x, y)\n"
        )
        told = "3 more models were not examined: only the first 1 are examined"
        assert (code, found["root_cause"]["rule"]) == (1, "SD101")
        assert shown.out.count("steps 4") == 2
        assert told in shown.err
        assert told in json.loads((tmp_path / "run" / "run.json").read_text())["notes"]
        assert not list((tmp_path / "run").glob("model-*"))


class TestHealthy:
    @pytest.mark.parametrize("overfit", [False, True])
    def test_raises_nothing_and_trains_as_alone(self, run, overfit, tmp_path):
        code = FRAME + (
            "model = build()\n"
            'model.compile(keras.optimizers.Adam(0.03), "binary_crossentropy")\n'
            "model.fit(x, y, epochs=3, verbose=0)\n"
            "np.save(os.environ['WEIGHTS'], model.layers[0].kernel)\n"
        )
        import numpy as np

        os.environ["WEIGHTS"] = str(tmp_path / "with.npy")
        result, found, _ = run(code, overfit=overfit)
        assert result == 0
        assert not [f for f in found["findings"] if f["severity"] != "info"]
        assert found["verdict"] == ("learns" if overfit else "inconclusive")
        os.environ["WEIGHTS"] = str(tmp_path / "without.npy")
        exec(compile(code, "program.py", "exec"), {})
        assert np.array_equal(np.load(tmp_path / "with.npy"), np.load(tmp_path / "without.npy"))

    def test_a_generator_loses_nothing(self, run):
        code, _, shown = run(
            FRAME + "seen = []\n"
            "def batches():\n"
            "    for i in range(6):\n"
            "        seen.append(i)\n"
            "        yield x[8 * i : 8 * i + 8], y[8 * i : 8 * i + 8]\n"
            'model = build()\nmodel.compile("adam", "mse")\n'
            "model.fit(batches(), verbose=0)\nprint(seen)"
        )
        assert code == 0
        assert "[0, 1, 2, 3, 4, 5]" in shown.out


class TestNothingIsLost:
    @pytest.mark.parametrize(
        "end",
        [
            "os.chdir('/')",
            "sys.exit(3)",
            "del model",
            "raise RuntimeError('mine')",
            "raise KeyboardInterrupt",
            "os._exit = None",
        ],
    )
    def test_however_the_program_ends(self, run, end):
        code, found, _ = run(FAULTY + f"model.fit(x, y, verbose=0)\n{end}\n")
        assert code == (2 if "Keyboard" in end else 1)
        assert found["root_cause"]["rule"] == "SD101"

    def test_where_the_program_works_in_another_directory(self, run):
        code, found, _ = run("import os\nos.chdir('/')\n" + FAULTY + "model.fit(x, y, verbose=0)")
        assert code == 1
        assert found["root_cause"]["source"]["file"] == "program.py"
        assert found["root_cause"]["source"]["text"] == SOURCE

    def test_where_a_thread_trains(self, run):
        train = (
            "import threading\nt = threading.Thread(target=lambda: model.fit(x, y, verbose=0))\n"
        )
        code, found, _ = run(FAULTY + train + "t.start()\nt.join()\ndel model, t")
        assert code == 1
        assert found["root_cause"]["rule"] == "SD101"

    def test_where_the_process_is_ended_at_once(self, tmp_path):
        (tmp_path / "program.py").write_text(FAULTY + "model.fit(x, y, verbose=0)\nos._exit(5)\n")
        done = run_saldiag_process("run", "--out", "run", "program.py", cwd=tmp_path)
        assert done.returncode == 5, done.stderr
        found = json.loads((tmp_path / "run" / "diagnosis.json").read_text())
        assert found["root_cause"]["rule"] == "SD101"

    def test_where_no_run_can_be_made_for_a_second_model(self, run, monkeypatch):
        from saldiag.app.program.run import _ProgramRun
        from saldiag.core.errors import SaldiagError

        opened = _ProgramRun.open_session

        def full(self, name):
            if self.sessions:
                raise SaldiagError("the disk is full")
            return opened(self, name)

        monkeypatch.setattr(_ProgramRun, "open_session", full)
        again = 'good = build()\ngood.compile("adam", "mse")\ngood.fit(x, y, verbose=0)\n'
        code, found, shown = run(FAULTY + "model.fit(x, y, verbose=0)\n" + again + "print('all')")
        assert "all" in shown.out
        assert code == 1
        assert found["root_cause"]["rule"] == "SD101"
        assert "1 more model was not examined\n" in shown.err

    def test_where_everything_is_caught(self, run):
        code, found, _ = run(
            FAULTY + "try:\n    model.fit(x, y[:5], verbose=0)\nexcept BaseException:\n    pass\n"
        )
        assert found is not None
        assert code in (0, 1)

    def test_under_multiprocessing(self, tmp_path):
        (tmp_path / "program.py").write_text(
            "import multiprocessing\n"
            "def square(i):\n    return i * i\n"
            "if __name__ == '__main__':\n"
            "    with multiprocessing.get_context('spawn').Pool(2) as pool:\n"
            "        print(pool.map(square, [1, 2, 3]))\n"
            + textwrap.indent(FAULTY + "model.fit(x, y, verbose=0)\n", "    ")
        )
        done = run_saldiag_process("run", "program.py", cwd=tmp_path)
        assert done.returncode == 1, done.stderr
        assert "[1, 4, 9]" in done.stdout
        assert "SD101" in done.stdout

    @pytest.mark.parametrize(
        "probe",
        [
            "saldiag_probes.survey.survey",
            "saldiag_probes.data.tensor_statistics.measure_data",
            "saldiag_probes.network.trainability.measure_trainable",
            "saldiag_probes.training.callback.Watch.measurements",
        ],
    )
    def test_a_broken_probe_is_a_reason(self, run, monkeypatch, probe):
        def broken(*_, **__):
            raise ZeroDivisionError("in the probe")

        monkeypatch.setattr(probe, broken)
        code, found, shown = run(FAULTY + "model.fit(x, y, verbose=0)\nprint('trained')")
        assert "trained" in shown.out
        assert code in (0, 1)
        assert any("in the probe" in s["reason"] for s in found["skipped"])

    @pytest.mark.parametrize(
        "train",
        [
            "model.fit(x, y, verbose=0)\n",
            LOOP + "step(x, y)\nstep(x, y)\n",
            "model.train_on_batch(x, y)\nmodel.train_on_batch(x, y)\n",
        ],
        ids=["fit", "loop", "train_on_batch"],
    )
    def test_where_saldiag_itself_breaks(self, run, monkeypatch, train):
        from saldiag.app.watching.observer import Observer

        monkeypatch.setattr(Observer, "start_watching", lambda *_: 1 / 0)
        code, found, shown = run(FAULTY + train + "print('trained')")
        assert "trained" in shown.out
        assert (code, found) == (2, None)
        assert "1 more model was not examined\n" in shown.err


class TestStopping:
    LONG = FRAME + (
        "inputs = keras.Input((4,))\n"
        "outputs = keras.layers.Dense(1)(keras.ops.stop_gradient(inputs) * 0.0)\n"
        "model = keras.Model(inputs, outputs)\nmodel.layers[-1].bias.trainable = False\n"
    )

    @pytest.mark.parametrize(
        "train",
        [
            'model.compile("adam", "mse")\nmodel.fit(x, y, epochs=10**6, verbose=0)',
            LOOP + "while True:\n    step(x, y)",
            LOOP + "step = tf.function(step)\nwhile True:\n    step(x, y)",
            'model.compile("adam", "mse")\nwhile True:\n    model.train_on_batch(x, y)',
        ],
        ids=["fit", "loop", "function", "train_on_batch"],
    )
    def test_early_where_every_gradient_is_zero(self, run, train):
        code, found, shown = run(self.LONG + train, stop_early=True)
        assert code == 1
        assert found["verdict"] == "does_not_learn"
        assert "was stopped" in shown.err

    @pytest.mark.parametrize(
        "train",
        [
            "model.fit(x, y, epochs=10**6, verbose=0)\nprint('after')",
            "while True:\n    model.train_on_batch(x, y)",
        ],
    )
    def test_after_so_many_steps(self, run, train):
        code, _, shown = run(
            FRAME + 'model = build()\nmodel.compile("adam", "mse")\n' + train, steps=5
        )
        assert code == 0
        assert ("after" in shown.out) or ("--steps 5" in shown.err)


@pytest.mark.parametrize("end", ["", "1 / 0\n", "sys.exit(1)\n"])
def test_nothing_of_keras_stays_changed(run, end):
    before = classes()
    run(FAULTY + "model.fit(x, y, verbose=0)\n" + LOOP + "step(x, y)\n" + end)
    assert classes() == before


def test_json_alone_is_on_stdout(run):
    code, found, shown = run(
        FAULTY + "print('mine')\nmodel.fit(x, y, verbose=0)", output_format="json"
    )
    assert code == 1
    assert json.loads(shown.out) == found
    assert "mine" in shown.err


def test_a_program_without_a_model_leaves_no_run(run, tmp_path):
    code, found, shown = run("print('no model')")
    assert (code, found) == (2, None)
    assert "trained no Keras model" in shown.err
    assert not (tmp_path / "run").exists()
