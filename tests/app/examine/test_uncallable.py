"""A model that cannot be called or trained at all: the cause is a finding, where rules can tell."""

from __future__ import annotations

import numpy as np
import pytest

import saldiag
from saldiag.core.errors import SaldiagError
from saldiag.core.measurement import ProgramError
from tests.support.command_line import read_diagnosis, run_saldiag

pytestmark = [pytest.mark.slow, pytest.mark.tensorflow]

PROGRAM = """
    import keras
    import numpy as np

    def built(loss, units=3, last="softmax"):
        model = keras.Sequential([
            keras.Input((4,)), keras.layers.Dense(8, "relu"),
            keras.layers.Dense(units, last),  # the head
        ])
        model.compile("adam", loss)
        return model

    def categorical(): return built("categorical_crossentropy")
    def sparse(): return built("sparse_categorical_crossentropy")
    def few(): return built("sparse_categorical_crossentropy", 2)

    class Own(keras.Model):
        def __init__(self):
            super().__init__()
            self.head = keras.layers.Dense(3, "softmax")

        def call(self, x):
            return self.head(keras.ops.matmul(x, keras.ops.ones((5, 2))))  # a matrix

    class Unknown(Own):
        def call(self, x):
            return self.head(x).undefined

    def own():
        model = Own()
        model.compile("adam", "sparse_categorical_crossentropy")
        return model

    def unknown():
        model = Unknown()
        model.compile("adam", "sparse_categorical_crossentropy")
        return model

    x = np.random.default_rng(0).normal(size=(32, 4)).astype("float32")
    y = np.arange(32) % 3
    def classes(): return x, y
    def one_hot(): return x, keras.utils.to_categorical(y)
    def wide(): return x, np.zeros((32, 5), "float32")
"""
REFUSED = {
    ("categorical", "classes"): ("SD108", "one number per sample, but the predictions"),
    ("sparse", "one_hot"): ("SD108", "one-hot targets"),
    ("categorical", "wide"): ("SD108", "targets have shape"),
    ("few", "classes"): ("SD108", "a label is 2, but the last layer has 2 units"),
    ("own", "classes"): ("SD904", "the model cannot be called with this data"),
}


def parts(here, model, data):
    names = {}
    exec(compile((here / "net.py").read_text(), str(here / "net.py"), "exec"), names)
    return names[model](), names[data]()


@pytest.mark.parametrize(("model", "data"), REFUSED)
def test_overfit_tells_the_cause_with_its_line(model, data, here):
    rule, said = REFUSED[model, data]
    out = here / "run"
    subject = ("--model", f"net.py:{model}", "--data", f"net.py:{data}")
    code = run_saldiag("overfit", *subject, "--out", out)
    found = read_diagnosis(out)
    assert (code, found["verdict"], found["root_cause"]["rule"]) == (1, "does_not_learn", rule)
    assert said in found["findings"][0]["message"]
    place = "# a matrix" if model == "own" else "# the head"
    line = (here / "net.py").read_text().splitlines()[found["root_cause"]["source"]["line"] - 1]
    assert line.endswith(place)


@pytest.mark.parametrize(("model", "data"), REFUSED)
def test_diagnose_tells_the_cause_and_leaves_the_model(model, data, here):
    rule, said = REFUSED[model, data]
    made, given = parts(here, model, data)
    before = [np.asarray(v).tobytes() for v in made.variables]
    diagnosis = saldiag.diagnose(made, given, steps=5)
    assert (diagnosis.root_cause.rule, diagnosis.verdict) == (rule, "does_not_learn")
    assert said in diagnosis.findings[0].message
    assert [np.asarray(v).tobytes() for v in made.variables][: len(before)] == before


def test_an_error_that_no_rule_knows_is_one_line(here, capsys):
    assert run_saldiag("overfit", "--model", "net.py:unknown", "--data", "net.py:classes") == 2
    assert "the model cannot be called on this batch: Unknown.call()" in capsys.readouterr().err
    made, given = parts(here, "unknown", "classes")
    with pytest.raises(SaldiagError, match="cannot be called"):
        saldiag.diagnose(made, given)


def test_what_a_program_ended_with_is_not_told_twice():
    from tests.faults import sd904_program_crash as fault
    from tests.support.judging import found

    ended = fault.broken().need(ProgramError)
    by_us = ProgramError(ended.error, ended.message, during="training")
    assert [len(found(code, ended)) for code in ("SD904", "SD108")] == [1, 0]
    assert [len(found(code, by_us)) for code in ("SD904", "SD108")] == [0, 1]
