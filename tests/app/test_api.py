"""saldiag from Python: ``diagnose``, ``Watch``, ``watch`` and what a ``Diagnosis`` can do."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

import saldiag
from saldiag.app.loading.fit_arguments import first_batches
from saldiag.core.errors import DataError, ModelError, RunError, SaldiagError
from saldiag.core.files.sources import recorded_sources
from tests.support import models
from tests.support.command_line import read_diagnosis

pytestmark = [
    pytest.mark.slow,
    pytest.mark.tensorflow,
    # Keras says it of the fault that is seeded here.
    pytest.mark.filterwarnings("ignore:You are using a softmax over axis:UserWarning"),
]

FORMS = ("sequential", "functional", "subclassed", "nested", "train_step")


@pytest.fixture(scope="module")
def data():
    return models.sign_data(32)


class TestDiagnose:
    @pytest.mark.parametrize("form", FORMS)
    def test_leaves_model_optimizer_and_random_state_as_they_were(self, form, keras, data):
        model = models.normalized(form)
        model.fit(*data, epochs=1, verbose=0)
        optimizer = model.optimizer
        before = models.variable_bytes([*model.variables, *optimizer.variables])
        random.seed(3)
        np.random.seed(3)  # noqa: NPY002 - users draw from the global state
        keras.utils.set_random_seed(4)
        drawn = (random.getstate(), np.random.get_state()[1].tobytes())  # noqa: NPY002

        diagnosis = saldiag.diagnose(model, data, steps=5)

        assert diagnosis.measured.get(saldiag.core.measurement.OverfitHistory) is not None
        assert models.variable_bytes([*model.variables, *optimizer.variables]) == before
        assert model.optimizer is optimizer
        assert (random.getstate(), np.random.get_state()[1].tobytes()) == drawn  # noqa: NPY002
        after = np.asarray(keras.random.uniform((3,)))
        keras.utils.set_random_seed(4)
        assert after.tobytes() == np.asarray(keras.random.uniform((3,))).tobytes()
        model.fit(*data, epochs=1, verbose=0)  # and it trains on

    @pytest.mark.parametrize("form", FORMS)
    def test_names_the_cause(self, form, data):
        diagnosis = saldiag.diagnose(models.normalized(form, "softmax"), data, steps=20)
        assert diagnosis.root_cause.rule == "SD101"
        assert diagnosis.verdict == "does_not_learn"
        assert diagnosis.failed()
        assert diagnosis.findings[0].layers[-1].endswith("head")

    def test_says_of_a_healthy_model_that_it_learns(self, data):
        diagnosis = saldiag.diagnose(models.normalized("functional"), data, ignore="SD902")
        assert diagnosis.verdict == "learns"
        assert not diagnosis.failed("warning")

    def test_takes_a_model_that_is_not_compiled_and_leaves_it_so(self, data):
        model = models.normalized("functional", compiled=False)
        with pytest.raises(ModelError, match=r"not compiled.*loss="):
            saldiag.diagnose(model, data)
        diagnosis = saldiag.diagnose(model, data, loss="binary_crossentropy", overfit=False)
        assert diagnosis.outcome.subject.loss == "binary_crossentropy"
        assert diagnosis.verdict == "not_tested"
        assert not model.compiled
        assert getattr(model, "optimizer", None) is None

    def test_another_loss_is_for_the_diagnosis_alone(self, data):
        model = models.normalized("functional")
        optimizer = model.optimizer
        diagnosis = saldiag.diagnose(
            model, data, loss="mean_absolute_error", optimizer="sgd", overfit=False
        )
        assert diagnosis.outcome.subject.loss == "mean_absolute_error"
        assert (model.loss, model.optimizer) == ("binary_crossentropy", optimizer)
        assert np.isfinite(model.evaluate(*data, verbose=0))

    def test_takes_whatever_fit_takes(self, keras, data):
        import pandas as pd
        import tensorflow as tf

        x, y = data

        class Sequence(keras.utils.PyDataset):
            def __len__(self):
                return 4

            def __getitem__(self, index):
                return x[index * 8 : index * 8 + 8], y[index * 8 : index * 8 + 8]

        def generator():
            while True:
                yield x[:8], y[:8]

        kinds = {
            "tensors": (tf.constant(x), tf.constant(y)),
            "frames": (pd.DataFrame(x), pd.DataFrame(y)),
            "dataset": tf.data.Dataset.from_tensor_slices(data).batch(8),
            "sequence": Sequence(),
            "generator": generator(),
            "weighted": (x, y, np.ones(32, "float32")),
        }
        model = models.normalized("functional")
        for name, kind in kinds.items():
            diagnosis = saldiag.diagnose(model, kind, overfit=False)
            facts = diagnosis.measured.get(saldiag.core.measurement.DataFacts)
            assert facts is not None, (name, diagnosis.measured.missing)

    def test_says_what_it_cannot_use(self, data):
        model = models.normalized("functional")
        with pytest.raises(ModelError, match="expects a Keras model, not str"):
            saldiag.diagnose("model.keras", data)
        with pytest.raises(DataError, match="cannot be read"):
            saldiag.diagnose(model, (data[0], data[1][:5]))
        with pytest.raises(SaldiagError, match="SD999"):
            saldiag.diagnose(model, data, overfit=False, ignore=["SD999"])

    @pytest.mark.parametrize("in_a_dataset", [True, False])
    def test_reading_the_data_draws_no_random_number(self, in_a_dataset, keras, data):
        """The data draws from every global state that Keras code has in reach."""
        import tensorflow as tf

        def noisy(*batch):
            random.random()
            np.random.random()  # noqa: NPY002 - as users do
            keras.random.uniform((2,))
            tf.random.uniform((2,))
            tf.random.get_global_generator().uniform((2,))
            return batch

        def batches():
            for start in range(0, 32, 8):
                yield noisy(data[0][start : start + 8], data[1][start : start + 8])

        def draws():
            state = tf.random.get_global_generator()
            drawn = [random.random(), np.random.random()]  # noqa: NPY002 - as users do
            drawn += [keras.random.uniform((3,)), tf.random.uniform((3,)), state.uniform((3,))]
            return [np.asarray(value).tobytes() for value in drawn]

        specs = [tf.TensorSpec((None, width), tf.float32) for width in (6, 1)]
        kept = tf.data.Dataset.from_generator(batches, output_signature=tuple(specs))
        drawn = []
        for looks in (0, 1):
            model, unbuilt = (
                models.normalized("functional"),
                keras.Sequential([keras.layers.Dense(1)]),
            )
            random.seed(5)
            np.random.seed(5)  # noqa: NPY002 - users draw from the global state
            keras.utils.set_random_seed(5)
            tf.random.set_global_generator(tf.random.Generator.from_seed(5))
            for _ in range(looks):
                first_batches(model, kept if in_a_dataset else batches())
                first_batches(unbuilt, kept if in_a_dataset else batches())
            drawn.append(draws())
        assert drawn[0] == drawn[1]


@pytest.fixture(scope="module")
def broken(keras, data):
    return saldiag.diagnose(models.normalized("functional", "softmax", name="a>b"), data, steps=5)


class TestDiagnosis:
    def test_prints_the_verdict_and_the_cause(self, broken):
        assert "does not learn" in str(broken)
        assert "SD101" in str(broken)
        assert "SD101" in repr(broken)

    def test_renders_in_a_notebook_without_trusting_names(self, broken):
        page = broken._repr_html_()
        assert "SD101" in page
        assert "a&gt;b" in page
        assert "a>b" not in page

    def test_turns_into_a_table(self, broken):
        table = broken.to_frame()
        assert list(table["rule"]) == [finding.rule for finding in broken.findings]
        assert table["file"].isna().all() or table["line"].notna().any()
        assert list(broken.to_frame().columns[:3]) == ["rule", "name", "severity"]

    def test_saves_a_run_that_the_command_line_reads(self, broken, tmp_path, capsys):
        from saldiag.cli.main import main

        folder = broken.save(tmp_path / "run")
        assert {"run.json", "diagnosis.json", "report.html", "measurements"} <= {
            path.name for path in folder.iterdir()
        }
        saved = read_diagnosis(folder)
        assert saved["root_cause"]["rule"] == "SD101"
        own = [Path(file).name for file in recorded_sources(folder)]
        assert Path(__file__).name in own
        assert "api.py" not in own
        assert main(["report", str(folder), "--rules"]) == 1
        assert "SD101" in capsys.readouterr().out
        with pytest.raises(RunError):
            broken.save(folder)

    def test_opens_in_a_browser(self, broken, monkeypatch):
        opened = []
        monkeypatch.setattr("webbrowser.open", opened.append)
        broken.open()
        assert opened[0].startswith("file://")
        assert opened[0].endswith("report.html")


class TestWatch:
    @pytest.mark.parametrize("form", ["functional", "nested", "train_step"])
    def test_a_training_goes_as_without_it(self, form, data):
        trained = []
        for callbacks in ([], [saldiag.Watch()]):
            model = models.normalized(form)
            model.fit(*data, batch_size=8, epochs=2, verbose=0, callbacks=callbacks)
            trained.append(models.variable_bytes([*model.variables, *model.optimizer.variables]))
        assert trained[0] == trained[1]

    @pytest.mark.parametrize("given", ["data", "arrays", "dataset", "split"])
    def test_tells_the_cause_after_fit(self, given, data):
        import tensorflow as tf

        watch = saldiag.Watch(data if given == "data" else None, schedule="full")
        model = models.normalized("functional", "softmax")
        batches = tf.data.Dataset.from_tensor_slices(data).batch(8)
        arguments = {
            "dataset": {"x": batches},
            "split": {"x": data[0], "y": data[1], "validation_split": 0.5},
        }.get(given, {"x": data[0], "y": data[1]})
        model.fit(**arguments, epochs=1, shuffle=False, verbose=0, callbacks=[watch])
        diagnosis = watch.diagnosis()
        assert diagnosis.verdict == "does_not_learn"
        assert diagnosis.root_cause.rule == "SD101"

    def test_leaves_a_generator_to_fit(self, data):
        read = []

        def generator():
            for start in range(0, 32, 8):
                read.append(start)
                yield data[0][start : start + 8], data[1][start : start + 8]

        watch = saldiag.Watch(schedule="full")
        model = models.normalized("functional")
        model.fit(
            generator(), steps_per_epoch=4, epochs=1, shuffle=False, verbose=0, callbacks=[watch]
        )
        assert read == [0, 8, 16, 24]
        measured = watch.diagnosis().measured
        assert measured.get(saldiag.core.measurement.Wiring) is not None
        assert measured.get(saldiag.core.measurement.DataFacts) is not None

    @pytest.mark.parametrize("in_a_graph", [True, False])
    def test_a_loop_of_ones_own(self, in_a_graph, keras, data):
        """Its gradient is cut outside of the model, where no survey of the model sees it."""
        import tensorflow as tf

        model = models.normalized("functional", compiled=False)
        optimizer = keras.optimizers.Adam(0.01)
        x, y = data

        def step():
            with tf.GradientTape() as tape:
                predicted = model(x, training=True)
                loss = tf.reduce_mean((0.0 * predicted + tf.stop_gradient(predicted) - y) ** 2)
            weights = model.trainable_variables
            optimizer.apply(tape.gradient(loss, weights), weights)

        train = tf.function(step) if in_a_graph else step
        apply = keras.optimizers.Adam.apply
        with saldiag.watch(model, optimizer, schedule="full") as watch:
            for _ in range(4):
                train()
        assert keras.optimizers.Adam.apply is apply
        assert watch.diagnosis().verdict == "does_not_learn"
        assert watch.diagnosis().findings
